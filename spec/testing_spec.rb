# frozen_string_literal: true

require "open3"

# In processes of their own: the mode is a matter of the whole process.
RSpec.describe "testing help" do
  library = File.expand_path("../lib", __dir__)

  channels = <<~RUBY
    class LivingRoom < RedisIPC::Channel
      stream "household"
      channel "living room"
    end

    class Kitchen < RedisIPC::Channel
      stream "household"
      channel "kitchen"
      on_error { nil }
      event("cook", params: [:dish]) { params[:dish] == "stone" ? raise(ArgumentError, "hard") : { dish: params[:dish].upcase } }
      event("ask back") { Kitchen.trigger_event("cook", target: "kitchen", params: { dish: "pie" }).value! }
    end
  RUBY

  define_method(:run) do |code, *command|
    Dir.mktmpdir do |folder|
      file = File.join(folder, "example_spec.rb")
      File.write(file, code)
      # No Redis: whoever needs it fails.
      environment = { "REDIS_URL" => "redis://127.0.0.1:1/0", "RUBYLIB" => library }
      output, status = Open3.capture2e(environment, *command, file, chdir: folder)
      [status.success?, output]
    end
  end

  def expect_success(result)
    success, output = result
    expect(success).to be(true), output
    output
  end

  it "needs no Redis: fake, inline and real, with blocks" do
    output = expect_success(run(<<~RUBY, RbConfig.ruby))
      require "redis_ipc/testing"
      #{channels}
      T = RedisIPC::Testing
      ask = ->(event = "cook", **params) { LivingRoom.trigger_event(event, target: "kitchen", params: params) }

      T.fake!
      p ask.call(dish: :soup).value
      p T.calls.map { |call| [call.from, call.to, call.event, call.params] }
      T.answer("cook", on: "kitchen") { |params| { got: params[:dish] } }
      p ask.call(dish: :soup).value
      T.answer("cook", on: "kitchen") { raise "burnt" }
      p ask.call.then { |response| [response.reason, response.error] }
      T.reject(on: "kitchen", reason: "closed")
      p ask.call.reason
      T.time_out("cook", on: "kitchen")
      p((ask.call rescue [$!.class, $!.outcome]))
      p LivingRoom.async_trigger_event("clean", target: "kitchen").then { |value| [value] }.wait
      p((ask.call(dish: Float::NAN) rescue $!.class))
      T.reset!
      p [T.calls, ask.call.value]

      T.inline! do
        p ask.call(dish: :soup).value
        p ask.call(dish: "stone").then { |response| [response.reason, response.error] }
        p ask.call("burn").reason
        p ask.call("ask back").value
        p LivingRoom.async_trigger_event("cook", target: "kitchen", params: { dish: "x" }).value
        p((LivingRoom.trigger_event("x", target: "attic") rescue $!.outcome))
        stream = RedisIPC::Stream.new("household", "attic")
        stream.on_request { |entry| fulfill_request(entry, content: [entry.content, entry.source_group, entry.deliveries]) }
        stream.connect
        p LivingRoom.trigger_event("x", target: "attic").value
        p [stream.connected?, stream.disconnect.connected?]
      end
      p T.mode
      T.disable! { p((ask.call rescue $!.class)) }
      p T.mode
    RUBY
    expect(output).to eq(<<~TEXT)
      nil
      [["living room", "kitchen", "cook", {:dish=>"soup"}]]
      {:got=>"soup"}
      ["RuntimeError: burnt", "RuntimeError"]
      "closed"
      [RedisIPC::TimeoutError, :unclaimed]
      true
      RedisIPC::ContentError
      [[], nil]
      {:dish=>"SOUP"}
      ["ArgumentError: hard", "ArgumentError"]
      "unknown event \\"burn\\"; kitchen knows: ask back, cook"
      {:dish=>"PIE"}
      {:dish=>"X"}
      :unclaimed
      [{:event=>"x", :params=>{}}, "living room", 1]
      [true, false]
      :fake
      RedisIPC::NotConnectedError
      :fake
    TEXT
  end

  it "runs the channel inline, also where a stream of its group was connected that only asks" do
    output = expect_success(run(<<~RUBY, RbConfig.ruby))
      require "redis_ipc/testing"
      #{channels}
      RedisIPC::Testing.inline!
      Kitchen.connect
      RedisIPC::Stream.new("household", "kitchen").connect
      p LivingRoom.trigger_event("cook", target: "kitchen", params: { dish: "soup" }).value
    RUBY
    expect(output).to eq(%({:dish=>"SOUP"}\n))
  end

  it "stands in for all of the core that streams use" do
    output = expect_success(run(<<~RUBY, RbConfig.ruby))
      require "redis_ipc/testing"
      native = RedisIPC.const_get(:Native)
      fake = RedisIPC::Testing.const_get(:Engine)
      pairs = { native::Request => fake::Request, native::Answer => fake::Answer, native::Call => fake::Settled,
                native::Engine => fake }
      # What sessions, fibers, forks and dead letters call: there are none of these.
      unused = %i[take next_report next_wake tend cancel wake quiet close connected? pool_sizes inherited_sockets
                  retry_dead_letter discard_dead_letter]
      p pairs.map { |real, stand_in| real.instance_methods(false) - stand_in.instance_methods - unused }
    RUBY
    expect(output).to eq("[[], [], [], []]\n")
  end

  it "has matchers for RSpec, and leaks nothing from one example to the next" do
    output = expect_success(run(<<~RUBY, "rspec", "--order", "defined", "--no-color"))
      require "redis_ipc/rspec"
      #{channels}
      RSpec.describe LivingRoom do
        def cook(dish)
          LivingRoom.trigger_event("cook", target: "kitchen", params: { dish: dish })
        end

        it "matches" do
          RedisIPC::Testing.answer("cook", on: "kitchen") { 1 }
          expect { cook("pasta") }.to have_triggered_event("cook").on("kitchen").with(dish: "pasta").once
          expect { cook("soup") }.to have_triggered_event(:cook).with(hash_including(dish: /so/))
          expect { cook("soup") }.not_to have_triggered_event("cook").on("attic")
          expect { nil }.not_to have_triggered_event("cook")
          expect(LivingRoom).to have_triggered_event("cook").times(3)
          expect(Kitchen).not_to have_triggered_event("cook")
          expect(RedisIPC::Testing).to have_triggered_event("cook").and have_triggered_event("cook").on("kitchen")
        end

        it "has forgotten" do
          expect(RedisIPC::Testing.calls).to be_empty
          expect(cook("pasta").value).to be_nil
          RedisIPC::Testing.inline!
        end

        it "is fake again" do
          expect(cook("pasta").value).to be_nil
        end

        it "runs the channel", redis_ipc: :inline do
          expect(cook("pasta").value).to eq(dish: "PASTA")
        end

        it "is real", redis_ipc: :disable do
          expect { cook("pasta") }.to raise_error(RedisIPC::NotConnectedError)
        end

        it "says what was asked" do
          expect { expect { cook("pasta") }.to have_triggered_event("burn").on("kitchen").with({}) }
            .to raise_error(/expected to have triggered the event burn on kitchen with {}; calls: living room asked kitchen: cook/)
        end
      end
    RUBY
    expect(output).to include("6 examples, 0 failures")
  end

  it "has assertions for Minitest" do
    output = expect_success(run(<<~RUBY, RbConfig.ruby))
      require "minitest/autorun"
      require "redis_ipc/minitest"
      #{channels}
      class LivingRoomTest < Minitest::Test
        def cook(dish)
          LivingRoom.trigger_event("cook", target: "kitchen", params: { dish: dish })
        end

        2.times do |number|
          define_method("test_asserts_\#{number}") do
            assert_empty RedisIPC::Testing.calls
            response = assert_triggered_event("cook", on: "kitchen", with: { dish: "pasta" }, times: 1) { cook("pasta") }
            assert_nil response.value
            refute_triggered_event("burn") { cook("soup") }
            assert_triggered_event "cook", times: 2
            error = assert_raises(Minitest::Assertion) { refute_triggered_event("cook", on: "kitchen") }
            assert_match(/living room asked kitchen: cook/, error.message)
            RedisIPC::Testing.inline!
            assert_equal({ dish: "X" }, cook("x").value)
          end
        end
      end
    RUBY
    expect(output).to include("2 runs", "0 failures, 0 errors")
  end
end

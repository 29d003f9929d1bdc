# frozen_string_literal: true

require "open3"

# These examples run in processes of their own, because the mode is set for the whole process.
RSpec.describe "testing help" do
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

  def run(code, *command)
    without_redis(code) do |environment, file, folder|
      output, status = Open3.capture2e(environment, *command, file, chdir: folder)
      [status.success?, output]
    end
  end

  def expect_success(result)
    success, output = result
    expect(success).to be(true), output
    output
  end

  it "needs no Redis for JSON-RPC either" do
    output = expect_success(run(<<~RUBY, RbConfig.ruby))
      require "redis_ipc/testing"
      T = RedisIPC::Testing
      Refused = RedisIPC::JSONRPC::Error
      client = RedisIPC::JSONRPC::Client.new("calculator")
      told = lambda do
        client.call("sum", 1, 2)
      rescue Refused => e
        [e.message, e.code]
      rescue RedisIPC::TimeoutError => e
        e.outcome
      end

      T.fake!
      p [client.connect.connected?, client.stats]
      p [told.call, client.notify("log", x: 1)]
      p T.calls.map { |call| [call.to, call.event, call.params.to_a, call.id.class] }
      T.answer("sum", on: "calculator") { |params| params.sum }
      p told.call
      p client.batch { |batch| batch.notify("log") || (batch.call("sum", 1) && batch.call("nothing", a: :b)) }
      T.answer("sum", on: "calculator") { raise Refused.new("no", code: 7) }
      p told.call
      T.answer("sum", on: "calculator") { raise "secret" }
      p told.call
      T.reject("sum", on: "calculator", reason: "closed")
      p told.call
      T.time_out("sum", on: "calculator")
      p told.call
      p((client.call("sum", Float::NAN) rescue $!.class))
      T.reset!

      server = RedisIPC::JSONRPC::Server.new("calculator", max_batch: 2).on_error { |error| puts "told: \#{error.message}" }
      server.on("sum") { |*numbers| numbers.sum }
      server.on("keys") { |**named| named.transform_values(&:class).transform_values(&:to_s) }
      server.on("fail") { raise "secret" }
      heard = []
      server.on("log") { |text| heard << text }
      T.inline! do
        p [told.call, client.notify("log", 1), heard]
        server.connect
        p [server.connected?, told.call, client.call("keys", a: :b, c: 1.5).to_a]
        p((client.call("fail") rescue $!.message))
        p [client.notify("log", 2), heard]
        p client.batch { |batch| batch.call("sum", 5) && batch.call("nothing") }
        p((client.batch { |batch| 3.times { batch.call("sum") } } rescue $!.data))
        p client.proxy.sum(4, 5)
        server.disconnect
        p told.call
      end
      p T.calls.size
      T.disable! { p((client.call("sum") rescue $!.class)) }
    RUBY
    expect(output).to eq(<<~TEXT)
      [true, {}]
      [nil, true]
      [["calculator", "sum", [1, 2], Integer], ["calculator", "log", [[:x, 1]], NilClass]]
      3
      [1, nil]
      ["no", 7]
      ["Internal error", -32603]
      ["closed", -32000]
      :unclaimed
      RedisIPC::ContentError
      [:unclaimed, true, []]
      [true, 3, [[:a, "String"], [:c, "Float"]]]
      told: secret
      "Internal error"
      [true, [2]]
      [5, #<RedisIPC::JSONRPC::Error: Method not found>]
      "the batch has 3 requests, at most 2 are allowed"
      9
      :unclaimed
      13
      RedisIPC::NotConnectedError
    TEXT
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
      [["living room", "kitchen", "cook", #{{ dish: "soup" }.inspect}]]
      #{{ got: "soup" }.inspect}
      ["RuntimeError: burnt", "RuntimeError"]
      "closed"
      [RedisIPC::TimeoutError, :unclaimed]
      true
      RedisIPC::ContentError
      [[], nil]
      #{{ dish: "SOUP" }.inspect}
      ["ArgumentError: hard", "ArgumentError"]
      "unknown event \\"burn\\"; kitchen knows: ask back, cook"
      #{{ dish: "PIE" }.inspect}
      #{{ dish: "X" }.inspect}
      :unclaimed
      [#{{ event: "x", params: {} }.inspect}, "living room", 1]
      [true, false]
      :fake
      RedisIPC::NotConnectedError
      :fake
    TEXT
  end

  it "runs the channel inline, even if a stream of its group is connected that only asks" do
    output = expect_success(run(<<~RUBY, RbConfig.ruby))
      require "redis_ipc/testing"
      #{channels}
      RedisIPC::Testing.inline!
      Kitchen.connect
      RedisIPC::Stream.new("household", "kitchen").connect
      p LivingRoom.trigger_event("cook", target: "kitchen", params: { dish: "soup" }).value
    RUBY
    expect(output).to eq("#{{ dish: "SOUP" }.inspect}\n")
  end

  it "has the counters of the core, all of them 0" do
    output = expect_success(run(<<~RUBY, RbConfig.ruby))
      require "json"
      require "redis_ipc/testing"
      #{channels}
      RedisIPC::Testing.inline!
      LivingRoom.trigger_event("cook", target: "kitchen")
      puts [LivingRoom, Kitchen].map(&:stats).to_json
    RUBY
    names = connect("real").stats.keys
    expect(JSON.parse(output, symbolize_names: true)).to eq([names.to_h { |name| [name, 0] }] * 2)
  end

  it "treats an answer after the asker has gone on as late" do
    output = expect_success(run(<<~RUBY, RbConfig.ruby))
      require "redis_ipc/testing"
      kept = []
      stream = RedisIPC::Stream.new("household", "late").on_request { |entry| kept << [entry, entry.expired?] }
      RedisIPC::Testing.inline!
      stream.connect
      stream.send_to_group(content: 1, to: "late") rescue p $!.outcome
      entry, expired = kept.first
      p [expired, entry.expired?, entry.fulfill(1)]
    RUBY
    expect(output).to eq(":unknown\n[false, true, false]\n")
  end

  it "leaves nothing registered to the next test, and what was registered before in place" do
    output = expect_success(run(<<~RUBY, "rspec", "--order", "defined", "--no-color"))
      require "redis_ipc"
      TOLD = []
      # This is registered before the gem's own hooks, and runs for each example.
      RSpec.configure { |config| config.before { RedisIPC.subscribe(:request) { TOLD << :each } } }
      require "redis_ipc/rspec"
      #{channels}
      # This is what an initializer would do.
      class Kitchen
        around_handler { |_, handler| TOLD << :channel; handler.call }
      end
      KEPT = RedisIPC.subscribe(:handle) { TOLD << :subscriber }
      RedisIPC.around_request { |_, call| TOLD << :middleware; call.call }

      RSpec.describe LivingRoom, redis_ipc: :inline do
        def told(dish = "soup")
          TOLD.clear
          LivingRoom.trigger_event("cook", target: "kitchen", params: { dish: dish })
          TOLD.dup
        end

        it "registers" do
          RedisIPC.unsubscribe(KEPT)
          RedisIPC.subscribe { TOLD << :leak }
          RedisIPC.around_request { |_, call| TOLD << :leak; call.call }
          RedisIPC.around_handler { |_, call| TOLD << :leak; call.call }
          LivingRoom.around_request { |_, call| TOLD << :leak; call.call }
          Kitchen.around_handler { |_, call| TOLD << :leak; call.call }
          Kitchen.on_error { TOLD << :leak }
          expect(told("stone").count(:leak)).to be >= 6
        end

        it "knows nothing of it" do
          expect(told("stone")).to eq(%i[middleware channel subscriber each])
        end

        context "with what a group registers" do
          before(:context) { @group = RedisIPC.subscribe(:handle) { TOLD << :group } }
          after(:context) { RedisIPC.unsubscribe(@group) }

          2.times do |number|
            it("is told \#{number}") { expect(told).to eq(%i[middleware channel subscriber group each]) }
          end

          it "goes back to that in the middle of a test" do
            RedisIPC.subscribe { TOLD << :leak }
            RedisIPC::Testing.reset!
            expect(told).to eq(%i[middleware channel subscriber group])
          end
        end

        it "is alone again" do
          expect(told).to eq(%i[middleware channel subscriber each])
        end
      end
    RUBY
    expect(output).to include("6 examples, 0 failures")
  end

  it "leaves nothing registered under Minitest, either" do
    output = expect_success(run(<<~RUBY, RbConfig.ruby))
      require "minitest/autorun"
      require "redis_ipc/minitest"
      #{channels}
      TOLD = []
      RedisIPC.subscribe(:request) { TOLD << :kept }
      class LivingRoomTest < Minitest::Test
        3.times do |number|
          define_method("test_tells_\#{number}") do
            RedisIPC.subscribe(:request) { TOLD << :own }
            LivingRoom.around_request { |_, call| TOLD << :around; call.call }
            TOLD.clear
            LivingRoom.trigger_event("cook", target: "kitchen")
            assert_equal %i[around kept own], TOLD
          end
        end
      end
    RUBY
    expect(output).to include("3 runs", "0 failures, 0 errors")
  end

  it "lets an expectation inside a handler fail the test, and forgets the classes of earlier tests" do
    output = expect_success(run(<<~RUBY, "rspec", "--order", "defined", "--no-color"))
      require "redis_ipc/rspec"
      #{channels}
      RSpec.describe LivingRoom, redis_ipc: :inline do
        let(:ask) { LivingRoom.trigger_event("cook", target: "kitchen", params: { dish: "soup" }) }

        it "fails by an expectation, also through another handler" do
          check = ->(dish) { expect(dish).to eq("pasta") }
          Class.new(RedisIPC::Channel) do
            stream "household"
            channel "kitchen"
            event("cook", params: [:dish]) { check.(params[:dish]) }
            event("ask back") { LivingRoom.trigger_event("cook", target: "kitchen", params: { dish: "soup" }) }
          end
          # Nothing else references the class.
          GC.start
          expect { ask }.to raise_error(RSpec::Expectations::ExpectationNotMetError, /pasta/)
          expect { LivingRoom.trigger_event("ask back", target: "kitchen") }
            .to raise_error(RSpec::Expectations::ExpectationNotMetError)
        end

        it "asks the real one again" do
          expect(ask.value).to eq(dish: "SOUP")
        end

        it "fails by a mock" do
          strict = double
          RedisIPC.around_handler { strict.surprise }
          expect { ask }.to raise_error(RSpec::Mocks::MockExpectationError)
        end

        it "answers for groups of other applications" do
          RedisIPC::Testing.answer("mow", on: "garden") { "mown" }
          RedisIPC::Testing.answer("cook", on: "kitchen") { "not this" }
          expect(LivingRoom.trigger_event("mow", target: "garden").value).to eq("mown")
          expect(ask.value).to eq(dish: "SOUP")
          expect { LivingRoom.trigger_event("dig", target: "garden") }.to raise_error(RedisIPC::TimeoutError)
        end
      end
    RUBY
    expect(output).to include("4 examples, 0 failures")
  end

  it "keeps channels without a name from the garbage collector, those of a test until it ends" do
    output = expect_success(run(<<~RUBY, "rspec", "--order", "defined", "--no-color"))
      require "redis_ipc"
      make = ->(group) { Class.new(RedisIPC::Channel) { stream("household") && channel(group) && event("ask") { group } } }
      early = [make.("early")]
      require "redis_ipc/rspec"
      early.clear
      make.("file")
      RSpec.describe "channels", redis_ipc: :inline do
        before(:context) { make.("context") }
        before { make.("each") }
        let(:asker) { Class.new(RedisIPC::Channel) { stream("household") && channel("asker") } }
        let(:ask) { ->(group) { asker.trigger_event("ask", target: group, timeout: 0.1).value } }

        10.times do |number|
          it("answer") do
            GC.start
            make.("only \#{number}")
            GC.start
            groups = ["early", "file", "context", "each", "only \#{number}"]
            expect(groups.map(&ask)).to eq(groups)
            expect { ask.("only \#{number - 1}") }.to raise_error(RedisIPC::TimeoutError)
          end
        end

        after(:context) do
          GC.start
          puts "left: \#{ObjectSpace.each_object(RedisIPC::Channel.singleton_class).reject(&:name).size}"
        end
      end
    RUBY
    expect(output).to include("10 examples, 0 failures")
    # Three stay. The collector keeps some of the other thirty, because it finds references to them on the stack.
    expect(output[/left: (\d+)/, 1].to_i).to be_between(3, 12)
  end

  it "names the allowed modes of an example" do
    _, output = run(<<~RUBY, "rspec", "--no-color")
      require "redis_ipc/rspec"
      RSpec.describe("a mode") { it("is misspelt", redis_ipc: :inlined) { nil } }
    RUBY
    expect(output).to include("redis_ipc: must be :fake, :inline or :disable, got :inlined")
  end

  it "replaces everything of the core that streams use" do
    output = expect_success(run(<<~RUBY, RbConfig.ruby))
      require "redis_ipc/testing"
      native = RedisIPC.const_get(:Native)
      fake = RedisIPC::Testing.const_get(:Engine)
      pairs = { native::Request => fake::Request, native::Answer => fake::Answer, native::Call => fake::Settled,
                native::Engine => fake }
      # Sessions, fibers, forks and dead letters call these methods, and none of those exist here.
      unused = %i[leave vanish details note_frame wait_for_answers take next_report next_wake check_deadline cancel wake quiet
                  close connected? dispatchers inherited_sockets retry_dead_letter discard_dead_letter]
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

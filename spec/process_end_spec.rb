# frozen_string_literal: true

# Streams can be used in all `at_exit` blocks, and are disconnected after the last one.
RSpec.describe "the end of the process" do
  # Returns what the process prints, and how it ends.
  def outcome(script)
    process = run_process(RbConfig.ruby, "-I#{Processes::LIBRARY}", "-e", "$stderr.reopen($stdout)\n#{script}")
    status = process.wait(timeout: 30)
    [process.rest, status]
  end

  stream = <<~RUBY
    require "redis_ipc"
    STREAM = RedisIPC::Stream.new("house", "child")
    STREAM.on_request { |entry| fulfill_request(entry, content: entry.content) }
    STREAM.connect
    def ask(content) = STREAM.send_to_group(content: content, to: "child").value
  RUBY

  describe "whose program is an at_exit block registered before the gem was loaded:" do
    it "minitest/autorun" do
      output, status = outcome(<<~RUBY)
        require "minitest/autorun"
        #{stream}
        Minitest.after_run { puts "after \#{ask(2)}" }
        class AskTest < Minitest::Test
          def test_ask = assert_equal(1, ask(1))
          def test_fail = assert_equal(1, ask(2))
        end
      RUBY
      expect(output).to include("2 runs, 2 assertions, 1 failures, 0 errors", "after 2")
      expect(status.exitstatus).to eq(1)
      expect(redis.keys).to be_empty
    end

    it "test-unit" do
      output, status = outcome(<<~RUBY)
        require "test/unit"
        #{stream}
        class AskTest < Test::Unit::TestCase
          def test_ask = assert_equal(1, ask(1))
        end
      RUBY
      expect(output).to include("1 tests, 1 assertions, 0 failures, 0 errors")
      expect(status).to be_success
      expect(redis.keys).to be_empty
    end

    it "RSpec" do
      output, status = outcome(<<~RUBY)
        require "rspec/autorun"
        #{stream}
        RSpec.describe("a call") { it("is answered") { expect(ask(1)).to eq(1) } }
      RUBY
      expect(output).to include("1 example, 0 failures")
      expect(status).to be_success
      expect(redis.keys).to be_empty
    end

    it "a server like Sinatra's, which answers until it is told to end" do
      process = run_process(RbConfig.ruby, "-I#{Processes::LIBRARY}", "-e", <<~RUBY)
        $stdout.sync = true
        at_exit do
          puts "ready"
          $stdin.gets
        end
        #{stream}
      RUBY
      expect(process.line).to eq("ready")
      expect(connect("parent").send_to_group(content: 5, to: "child").value).to eq(5)
      process.puts "end"
      expect(process.wait).to be_success
      disconnect_streams
      expect(redis.keys).to be_empty
    end
  end

  it "comes after all at_exit blocks, whenever registered, in their usual order, and keeps the exit status" do
    output, status = outcome(<<~RUBY)
      at_exit { puts "first \#{ask(1)}" }
      at_exit do
        puts "second \#{ask(2)}"
        at_exit { puts "within \#{ask(3)}" }
        exit 7
      end
      #{stream}
      at_exit { puts "third \#{ask(4)}" }
      END { puts "fourth \#{ask(5)}" }
    RUBY
    expect(output.lines.map(&:chomp)).to eq(["fourth 5", "third 4", "second 2", "within 3", "first 1"])
    expect(status.exitstatus).to eq(7)
    expect(redis.keys).to be_empty
  end

  it "disconnects what connects in an at_exit block, or after others have been disconnected" do
    [
      "at_exit { LATE.connect; p LATE.connected? }\n#{stream}",
      "#{stream}\nat_exit { LATE.connect; p LATE.connected? }",
      "at_exit { LATE.connect; p LATE.connected? }",
      # This is registered before the gem's own block, because no stream was connected yet.
      "at_exit { at_exit { LATE.connect; p LATE.connected? } }",
      # Disconnecting the stream connects another one.
      "#{stream}\nSTREAM.define_singleton_method(:disconnect) { |**more| super(**more).tap { LATE.connect; p true } }"
    ].each do |script|
      output, = outcome("require \"redis_ipc\"\nLATE = RedisIPC::Stream.new(\"house\", \"late\")\n#{script}")
      expect(output).to eq("true\n")
      expect(redis.keys).to be_empty
    end
  end

  it "notices at_exit blocks that are lambdas, and passes over those made of methods" do
    output, = outcome(<<~RUBY)
      def say = puts("method")
      at_exit(&-> { puts "lambda \#{ask(1)}" })
      at_exit(&method(:say))
      #{stream}
      at_exit(&method(:say))
    RUBY
    expect(output).to eq("method\nmethod\nlambda 1\n")
    expect(redis.keys).to be_empty
  end

  it "lets running handlers finish, sends their answers, and is not delayed by one that hangs" do
    answerer = <<~RUBY
      $stdout.sync = true
      at_exit { nil }
      require "redis_ipc"
      stream = RedisIPC::Stream.new("house", "child")
      stream.on_request do |entry|
        puts "running"
        sleep entry.content
        fulfill_request(entry, content: "done")
      end
      stream.connect
      puts "ready"
      $stdin.gets
    RUBY
    parent = connect("parent")
    [0.5, 60].each do |time|
      process = run_process(RbConfig.ruby, "-I#{Processes::LIBRARY}", "-e", answerer)
      expect(process.line).to eq("ready")
      future = parent.async_send_to_group(content: time, to: "child", timeout: 30)
      expect(process.line).to eq("running")
      process.puts "end"
      expect(seconds { process.wait }).to be < 8
      expect(future.value).to eq("done") if time < 2
    end
  end

  it "is separate for each process: a forked child ends by itself" do
    output, = outcome(<<~RUBY)
      at_exit { puts "\#{$child ? "child" : "parent"} \#{ask(1)}" }
      #{stream}
      pid = fork do
        $child = true
      end
      Process.wait(pid)
    RUBY
    expect(output).to eq("child 1\nparent 1\n")
    expect(redis.keys).to be_empty
  end
end

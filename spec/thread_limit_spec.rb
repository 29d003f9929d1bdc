# frozen_string_literal: true

require "etc"

# A process that may have no more threads than it has.
RSpec.describe "at the limit of threads" do
  # The limit applies to every user except root.
  limited = <<~RUBY
    def limit_threads
      Process::Sys.setuid(#{Etc.getpwnam("nobody").uid}) if Process.uid.zero?
      Process.setrlimit(:NPROC, 1, Process.getrlimit(:NPROC).last)
      Thread.new { nil }
      abort "threads are not limited"
    rescue ThreadError
      nil
    end

    def free_threads
      Process.setrlimit(:NPROC, Process.getrlimit(:NPROC).last)
    end

    def build(group)
      stream = RedisIPC::Stream.new("house", group)
      stream.on_request { |entry| fulfill_request(entry, content: 1) }
      stream.on_error { |error| puts error.full_message }
      stream
    end
    $stderr.reopen($stdout)
  RUBY

  # In Ruby 3.3 no thread runs on after one could not be started, in any program.
  ruby_goes_on = lambda do
    script = "#{limited}\nqueue = Queue.new; other = Thread.new { queue.pop }; limit_threads; queue << 1; other.join"
    pid = Process.spawn(RbConfig.ruby, "-e", script, out: File::NULL)
    Timeout.timeout(5) { Process.wait2(pid).last.success? }
  rescue Timeout::Error
    Process.kill(:KILL, pid)
    Process.wait(pid)
    false
  end

  goes_on = nil
  define_method(:output_of) do |script|
    goes_on = ruby_goes_on.call if goes_on.nil?
    skip "this Ruby hangs once it could not start a thread" unless goes_on
    process = ruby("#{limited}\n#{script}")
    status = process.wait
    [process.rest.lines.map(&:chomp), status.exitstatus]
  end

  it "disconnect works as usual, for streams and for JSON-RPC" do
    output, status = output_of(<<~RUBY)
      stream = build("child").connect
      server = RedisIPC::JSONRPC::Server.new("calculator")
      server.on("run") { 1 }
      server.connect
      limit_threads
      stream.disconnect
      server.disconnect
      puts "left"
    RUBY
    expect([output, status]).to eq([["left"], 0])
    expect(redis.keys).to be_empty
  end

  it "the end of the process disconnects all streams" do
    output, status = output_of(<<~RUBY)
      3.times { |number| build("child \#{number}").connect }
      limit_threads
    RUBY
    expect([output, status]).to eq([[], 0])
    expect(redis.keys).to be_empty
  end

  it "connect raises, leaves nothing connected, and works when there are threads again" do
    output, = output_of(<<~RUBY)
      stream = build("child")
      server = RedisIPC::JSONRPC::Server.new("calculator")
      server.on("run") { 1 }
      client = RedisIPC::JSONRPC::Client.new("calculator")
      build("other").connect
      limit_threads
      [stream, server, client].each do |which|
        which.connect
        puts "connected"
      rescue RedisIPC::ThreadLimitError => e
        puts e.message, which.connected?
      end
      free_threads
      stream.connect
      puts stream.send_to_group(content: 1, to: "child").value
      server.connect
      puts server.connected?
    RUBY
    refusal = match(/no thread could be started.*ulimit -u.*TasksMax.*pids\.max/)
    expect(output).to match([refusal, "false", refusal, "false", refusal, "false", "1", "true"])
    expect(redis.keys).to be_empty
  end

  {
    "to look up a name" => ->(port) { { host: "localhost", port: port } },
    "to ask a sentinel" => ->(port) { { name: "master", sentinels: [{ host: "127.0.0.1", port: port }] } }
  }.each do |what, options|
    it "connect raises if it needs one #{what}" do
      output, = output_of(<<~RUBY)
        stream = build("child")
        # The signals' thread (before Ruby 3.3) and the exit hook exist already.
        build("other").connect
        limit_threads
        begin
          stream.connect(redis_options: #{options.call(RedisServer.shared.port).inspect})
        rescue RedisIPC::Error => e
          puts e.class, e.message
        end
      RUBY
      expect(output).to match(["RedisIPC::ThreadLimitError", match(/no thread could be started.*ulimit -u/)])
    end
  end

  describe "if Ruby's threads cannot be started" do
    # Ruby's Thread.new raises from the nth call on.
    def threads_run_out(after)
      started = 0
      allow(Thread).to receive(:new).and_wrap_original do |original, *arguments, &block|
        raise ThreadError, "can't create Thread: Resource temporarily unavailable" if (started += 1) > after

        original.call(*arguments, &block)
      end
    end

    it "a stream that could not start all of its own is not connected" do
      # Three are consumers, two are dispatchers.
      [0, 1, 3, 4].each do |count|
        child = build("child", &echo)
        threads_run_out(count)
        expect { child.connect(redis_options: redis_options) }
          .to raise_error(RedisIPC::ThreadLimitError, /no thread could be started.*ulimit/) { |error|
            expect(error).to have_attributes(outcome: :not_sent, stream: "house", cause: be_a(ThreadError))
          }
        RSpec::Mocks.space.proxy_for(Thread).reset
        expect(child).not_to be_connected
        expect(redis.keys).to be_empty
        expect { child.send_to_group(content: 1, to: "child") }.to raise_error(RedisIPC::NotConnectedError)
        child.connect(redis_options: redis_options)
        expect(child.send_to_group(content: 1, to: "child").value).to eq(1)
        child.disconnect
      end
    end

    it "a JSON-RPC server and client that could not start all of their own are not connected" do
      client = RedisIPC::JSONRPC::Client.new("calculator", redis_options: redis_options)
      [build_server, keep(client).last].each do |ending|
        threads_run_out(0)
        expect { ending.connect }.to raise_error(RedisIPC::ThreadLimitError)
        RSpec::Mocks.space.proxy_for(Thread).reset
        expect(ending).not_to be_connected
        expect(redis.keys).to be_empty
        expect(ending.connect).to be_connected
        ending.disconnect
      end
    end
  end
end

# frozen_string_literal: true

RSpec.describe "interrupting" do
  let(:parent) { connect("parent") }
  let(:stopped) { Class.new(StandardError) }

  # The calls of this example are over, here and in Redis.
  def expect_clean(stream)
    expect(stream.stats).to include(open_calls: 0)
    eventually { redis.keys("house:inbox:*").sum { |key| redis.xlen(key) }.zero? }
  end

  describe "a call" do
    before { connect("child") { |entry| fulfill_request(entry, content: entry.content) if entry.content } }

    # nil is never answered.
    def call_nobody_answers
      parent.send_to_group(content: nil, to: "child", timeout: 20)
    end

    it "by Timeout.timeout is prompt and leaves nothing" do
      took = seconds { expect { Timeout.timeout(0.2) { call_nobody_answers } }.to raise_error(Timeout::Error) }
      expect(took).to be < 0.5
      expect(parent.stats).to include(cancelled: 1, open_calls: 0)
      expect(parent.send_to_group(content: "next", to: "child").value).to eq("next")
    end

    it "by Thread#kill and Thread#raise is prompt and leaves nothing" do
      { kill: [], raise: [stopped] }.each do |method, arguments|
        thread = Thread.new { call_nobody_answers }
        thread.report_on_exception = false
        eventually { parent.stats[:open_calls] == 1 }
        took = seconds do
          thread.public_send(method, *arguments)
          begin
            thread.join
          rescue stopped
            nil
          end
        end
        expect(took).to be < 0.5
        expect(parent.stats).to include(open_calls: 0)
      end
      expect(parent.stats).to include(cancelled: 2)
    end

    it "that nobody has taken withdraws it" do
      thread = Thread.new { parent.send_to_group(content: 1, to: "nobody", timeout: 20) }
      eventually { redis.exists?("house:inbox:nobody") && redis.xlen("house:inbox:nobody") == 1 }
      thread.kill.join
      expect_clean(parent)
    end

    it "by a signal handler does not end it" do
      handled = Queue.new
      previous = trap("USR1") { handled << true }
      gate = Queue.new
      connect("slow") { |entry| gate.pop && fulfill_request(entry, content: "still there") }
      future = Thread.new { parent.send_to_group(content: 1, to: "slow") }
      eventually { parent.stats[:open_calls] == 1 }
      Process.kill(:USR1, Process.pid)
      next_of(handled)
      gate << true
      expect(future.value.value).to eq("still there")
    ensure
      trap("USR1", previous || "DEFAULT")
    end

    it "while a future is waited for leaves the call open" do
      future = parent.async_send_to_group(content: nil, to: "child", timeout: 1)
      expect { Timeout.timeout(0.1) { future.wait } }.to raise_error(Timeout::Error)
      expect(parent.stats).to include(open_calls: 1)
      expect { future.value }.to raise_error(RedisIPC::TimeoutError)
    end

    it "with Thread.handle_interrupt waits until it may" do
      thread = Thread.new do
        Thread.handle_interrupt(stopped => :never) { parent.send_to_group(content: nil, to: "child", timeout: 0.5) }
      rescue RedisIPC::TimeoutError => e
        e.class
      end
      thread.report_on_exception = false
      eventually { parent.stats[:open_calls] == 1 }
      thread.raise(stopped)
      expect { thread.join }.to raise_error(stopped)
      expect(parent.stats).to include(open_calls: 0)
    end
  end

  it "a process by Ctrl-C in the middle of a call ends it at once" do
    process = ruby(<<~'RUBY')
      $stderr.reopen($stdout)
      # Where the suite runs in the background, its processes inherit that SIGINT is ignored.
      trap("INT", "DEFAULT")
      stream = RedisIPC::Stream.new("house", "parent").connect
      puts "ready"
      begin
        stream.send_to_group(content: 1, to: "nobody", timeout: 30)
      rescue Interrupt
        puts "interrupted #{stream.stats.values_at(:open_calls, :cancelled)}"
      end
    RUBY
    expect(process.line).to eq("ready")
    eventually { redis.exists?("house:inbox:nobody") }
    process.kill(:INT)
    expect(process.line).to eq("interrupted [0, 1]")
    process.wait(timeout: 5)
    expect(process.rest).to eq("")
    expect(redis.keys).to be_empty
  end

  it "connect by Timeout.timeout leaves nothing connected" do
    server = start_server
    Process.kill(:STOP, server.pid)
    stream = build("parent")
    took = seconds do
      expect { Timeout.timeout(0.2) { stream.connect(redis_options: { path: server.path, connect_timeout: 5 }) } }
        .to raise_error(Timeout::Error)
    end
    expect(took).to be < 1
    expect(stream).not_to be_connected
    Process.kill(:CONT, server.pid)
    stream.connect(redis_options: { path: server.path })
    expect(stream).to be_connected
    eventually { stream.instances.size == 1 }
  end

  it "disconnect by Timeout.timeout can be followed by another" do
    started = Queue.new
    gate = Queue.new
    child = connect("child") { |entry| (started << entry) && gate.pop && fulfill_request(entry, content: 1) }
    future = parent.async_send_to_group(content: 1, to: "child", timeout: 20)
    next_of(started)
    expect(seconds { expect { Timeout.timeout(0.2) { child.disconnect } }.to raise_error(Timeout::Error) }).to be < 1
    gate << true
    expect(future.value).to eq(1)
    child.disconnect
    expect(child).not_to be_connected
  end
end

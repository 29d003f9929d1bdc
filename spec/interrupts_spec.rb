# frozen_string_literal: true

RSpec.describe "interrupting" do
  let(:parent) { connect("parent") }
  let(:stopped) { Class.new(StandardError) }

  # Checks that the calls of this example are over, here and in Redis.
  def expect_clean(stream)
    expect(stream.stats).to include(open_calls: 0)
    eventually { redis.keys("house:inbox:*").sum { |key| redis.xlen(key) }.zero? }
  end

  describe "a call" do
    before do
      connect("child") { |entry| fulfill_request(entry, content: entry.content) if entry.content }
      parent
    end

    # A request with nil is never answered.
    def call_nobody_answers
      parent.send_to_group(content: nil, to: "child", timeout: 20)
    end

    it "by Timeout.timeout is prompt and leaves nothing" do
      took = best_of(within: 0.5) do
        seconds { expect { Timeout.timeout(0.2) { call_nobody_answers } }.to raise_error(Timeout::Error) }
      end
      expect(took).to be < 0.5
      stats = parent.stats
      expect(stats).to include(cancelled: be_positive, open_calls: 0)
      expect(stats[:cancelled]).to eq(stats[:requests])
      expect(parent.send_to_group(content: "next", to: "child").value).to eq("next")
    end

    it "by Thread#kill and Thread#raise is prompt and leaves nothing" do
      stopping = { "Thread#kill" => [:kill], "Thread#raise" => [:raise, stopped] }
      took = stopping.transform_values do |message|
        best_of(within: 0.5) { seconds_to_stop(Thread.new { call_nobody_answers }, *message) }
      end
      expect(took.values).to all(be < 0.5), took.inspect
      stats = parent.stats
      expect(stats).to include(cancelled: be >= 2, open_calls: 0)
      expect(stats[:cancelled]).to eq(stats[:requests])
    end

    def seconds_to_stop(thread, *message)
      thread.report_on_exception = false
      eventually { parent.stats[:open_calls] == 1 }
      took = seconds do
        thread.public_send(*message)
        begin
          thread.join
        rescue stopped
          nil
        end
      end
      expect(parent.stats).to include(open_calls: 0)
      took
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
      future = parent.async_send_to_group(content: nil, to: "child", timeout: 3)
      expect { Timeout.timeout(0.1) { future.wait } }.to raise_error(Timeout::Error)
      expect(parent.stats).to include(open_calls: 1)
      expect { future.value }.to raise_error(RedisIPC::TimeoutError)
    end

    it "with Thread.handle_interrupt is deferred as the mask says" do
      thread = Thread.new do
        Thread.handle_interrupt(stopped => :never) { parent.send_to_group(content: nil, to: "child", timeout: 2) }
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

  # Every way to interrupt a thread, in everything that it may be doing.
  describe "a thread" do
    # Interrupts the block once `ready` says that it is running. Returns how long that took.
    ways = {
      "Timeout.timeout" => lambda do |ready, work|
        started = nil
        thread = Thread.new do
          # This is enough time to see that it is running.
          Timeout.timeout(1) { (started = now) && work.call }
        rescue Timeout::Error
          now - started - 1
        end
        eventually(&ready)
        thread.value
      end,
      "Thread#kill" => lambda do |ready, work|
        thread = Thread.new(&work)
        eventually(&ready)
        seconds { thread.kill.join }
      end,
      "Thread#raise" => lambda do |ready, work|
        thread = Thread.new(&work)
        thread.report_on_exception = false
        eventually(&ready)
        seconds do
          thread.raise(stopped)
          expect { thread.join }.to raise_error(stopped)
        end
      end
    }

    ways.each do |name, way|
      describe "by #{name}" do
        define_method(:interrupted) { |ready, &work| instance_exec(ready, work, &way) }

        it "in a call" do
          connect("child", &echo)
          stream = parent
          took = interrupted(-> { stream.stats[:open_calls] == 1 }) do
            stream.send_to_group(content: 1, to: "nobody", timeout: 30)
          end
          expect(took).to be < 3
          expect(stream.stats).to include(cancelled: 1)
          expect(stream.send_to_group(content: "next", to: "child").value).to eq("next")
          expect_clean(stream)
        end

        it "in a wait for a future" do
          gate = Queue.new
          connect("child") { |entry| gate.pop && fulfill_request(entry, content: 1) }
          future = parent.async_send_to_group(content: 1, to: "child", timeout: 20)
          expect(interrupted(-> { parent.stats[:open_calls] == 1 }) { future.value }).to be < 3
          gate << true
          expect(future.value).to eq(1)
          expect_clean(parent)
        end

        it "in connect" do
          server = start_server
          Process.kill(:STOP, server.pid)
          stream = build("late", &echo)
          begun = Queue.new
          took = interrupted(-> { begun.size == 1 }) do
            begun << true
            stream.connect(redis_options: { path: server.path, connect_timeout: 20 })
          end
          expect(took).to be < 3
          expect(stream).not_to be_connected
          Process.kill(:CONT, server.pid)
          stream.connect(redis_options: { path: server.path })
          expect(stream.send_to_group(content: 1, to: "late").value).to eq(1)
          eventually { stream.instances.size == 1 }
        end

        it "in disconnect" do
          started = Queue.new
          gate = Queue.new
          child = connect("child") { |entry| (started << 1) && gate.pop && fulfill_request(entry, content: 1) }
          future = parent.async_send_to_group(content: 1, to: "child", timeout: 20)
          next_of(started)
          expect(interrupted(-> { !child.connected? }) { child.disconnect(timeout: 30) }).to be < 3
          gate << true
          expect(future.value).to eq(1)
          child.disconnect
          child.connect(redis_options: redis_options)
          expect(child).to be_connected
          expect_clean(parent)
        end

        it "in a handler: the asker gets an error at once, and the pool keeps its size" do
          started = Queue.new
          child = connect("child", consumer: { pool_size: 1 }) do |entry|
            entry.content == "stop" ? (started << Thread.current) && sleep : fulfill_request(entry, content: 1)
          end
          asked = Thread.new { seconds { parent.send_to_group(content: "stop", to: "child", timeout: 20) } }
          consumer = next_of(started)
          if name == "Thread#kill"
            consumer.kill
          else
            consumer.raise(name == "Thread#raise" ? stopped : Timeout::Error)
          end
          expect(asked.value).to be < 5
          expect(parent.send_to_group(content: 2, to: "child").value).to eq(1)
          expect(child.stats).to include(held_requests: 0)
          expect_clean(parent)
        end
      end
    end
  end

  # A signal reaches the main thread. `work` is running once the process has printed that.
  describe "a process" do
    works = {
      "a call" => 'stream.send_to_group(content: 1, to: "nobody", timeout: 30)',
      "a wait for a future" => 'stream.async_send_to_group(content: 1, to: "nobody", timeout: 30).value',
      "connect" => "late.connect(redis_options: { path: ARGV.first, connect_timeout: 30 })",
      "disconnect" => "busy.disconnect(timeout: 30)",
      "sleep, while a handler runs" => "sleep"
    }
    works.each do |name, work|
      %w[INT TERM].each do |signal|
        it "by SIG#{signal} in #{name} is prompt; it goes on, and its end is quiet" do
          answering_process("child")
          stopped_server = start_server if name == "connect"
          Process.kill(:STOP, stopped_server.pid) if stopped_server
          process = ruby(<<~RUBY)
            $stderr.reopen($stdout)
            ARGV << #{stopped_server&.path.inspect}
            # If the suite runs in the background, its child processes inherit that SIGINT is ignored.
            trap("INT", "DEFAULT")
            stream = RedisIPC::Stream.new("house", "parent").connect
            late = RedisIPC::Stream.new("house", "late")
            busy = RedisIPC::Stream.new("house", "busy")
            started = Queue.new
            busy.on_request { |entry| (started << 1) && $stdin.gets && fulfill_request(entry, content: "finished") }
            busy.connect
            # Both threads that might notice the signal late are busy: one waits in native code, one runs a handler.
            asked = stream.async_send_to_group(content: 1, to: "busy", timeout: 20)
            started.pop
            begin
              puts "ready"
              #{work}
            rescue SignalException => e
              puts "\#{e.signm} \#{stream.send_to_group(content: 1, to: "child").fulfilled?}"
            end
            puts asked.value
            sleep 0.01 until stream.stats[:open_calls] <= #{name == "a wait for a future" ? 1 : 0}
          RUBY
          expect(process.line).to eq("ready")
          took = seconds do
            process.kill(signal)
            expect(process.line).to match(/\A(SIGTERM)? ?true\z/)
          end
          expect(took).to be < 3
          process.puts("finish")
          expect(process.line).to eq("finished")
          expect(process.wait(timeout: 10)).to be_success
          expect(process.rest).to eq("")
        end
      end
    end

    it "that ends gives requests it took and did not start back to the group" do
      leaving = ruby(<<~RUBY)
        $stderr.reopen($stdout)
        stream = RedisIPC::Stream.new("house", "workers")
        stream.on_request do |entry|
          (puts "busy") || sleep if entry.content == "stay"
          fulfill_request(entry, content: Process.pid)
        end
        stream.connect(consumer: { pool_size: 1 })
        trap("TERM") { exit }
        puts "ready"
        sleep
      RUBY
      expect(leaving.line).to eq("ready")
      # Quick answers make the instance read ahead.
      200.times { parent.send_to_group(content: 1, to: "workers") }
      stuck = parent.async_send_to_group(content: "stay", to: "workers", timeout: 20)
      expect(leaving.line).to eq("busy")
      waiting = Array.new(20) { parent.async_send_to_group(content: 1, to: "workers", timeout: 20) }
      eventually { redis.xlen("house:inbox:workers") == 21 }
      connect("workers") { |entry| fulfill_request(entry, content: entry.deliveries) }
      leaving.kill(:TERM)
      # None was started there, so each is delivered as if for the first time.
      expect(waiting.map(&:value)).to all(eq(1))
      expect(leaving.wait(timeout: 10)).to be_success
      expect(leaving.rest).to eq("")
      # The request that had begun is run again, after a lease.
      expect(stuck.value).to eq(2)
    end

    it "may disconnect in a trap block" do
      process = ruby(<<~RUBY)
        $stderr.reopen($stdout)
        stream = RedisIPC::Stream.new("house", "trapping").connect
        trap("USR1") { stream.disconnect }
        puts "ready"
        sleep 0.01 while stream.connected?
        puts "disconnected"
        stream.connect
        trap("TERM") { stream.disconnect && exit }
        puts "again"
        stream.send_to_group(content: 1, to: "nobody", timeout: 30) rescue puts $!.class
        sleep
      RUBY
      expect(process.line).to eq("ready")
      process.kill(:USR1)
      expect([process.line, process.line]).to eq(%w[disconnected again])
      eventually { redis.exists?("house:inbox:nobody") }
      process.kill(:TERM)
      expect(process.wait(timeout: 10)).to be_success
      expect(process.rest).to eq("")
      expect(redis.keys("*trapping*")).to be_empty
    end
  end

  it "a process by Ctrl-C in the middle of a call ends it at once" do
    process = ruby(<<~'RUBY')
      $stderr.reopen($stdout)
      # If the suite runs in the background, its child processes inherit that SIGINT is ignored.
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
    # The inbox of a group that nobody joined remains until it expires.
    expect(redis.keys).to eq(["house:inbox:nobody"])
    expect(redis.xlen("house:inbox:nobody")).to eq(0)
    expect(redis.ttl("house:inbox:nobody")).to be_positive
  end

  it "connect by Timeout.timeout leaves nothing connected" do
    server = start_server
    Process.kill(:STOP, server.pid)
    stream = build("parent")
    took = seconds do
      expect { Timeout.timeout(0.2) { stream.connect(redis_options: { path: server.path, connect_timeout: 20 }) } }
        .to raise_error(Timeout::Error)
    end
    expect(took).to be < 3
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
    leave = -> { Timeout.timeout(0.2) { child.disconnect(timeout: 20) } }
    expect(seconds { expect(&leave).to raise_error(Timeout::Error) }).to be < 3
    gate << true
    expect(future.value).to eq(1)
    child.disconnect
    expect(child).not_to be_connected
  end

  # The interrupt may come while the thread waits for the GVL, with a connected engine.
  it "leaves nothing connected, even if connect is about to return" do
    watch = connect("watch")
    100.times do
      stream = build("late")
      thread = Thread.new { stream.connect(redis_options: redis_options) }
      sleep(rand * 0.002)
      thread.kill.join
      stream.disconnect
    end
    eventually { watch.instances.map { |row| row[:group] } == ["watch"] }
  end
end

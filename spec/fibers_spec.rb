# frozen_string_literal: true

RSpec.describe "under a Fiber scheduler" do
  let(:gate) { Queue.new }
  let(:parent) { connect("parent") }

  def ask(content = 1, to: "child", **options)
    parent.async_send_to_group(content: content, to: to, **options)
  end

  def wakers
    Thread.list.count { |thread| thread.name.to_s.include?("redis_ipc waker") }
  end

  describe "a waiting call lets other fibers run:" do
    before do
      opened = gate
      connect("child") { |entry| opened.pop && fulfill_request(entry, content: entry.content) }
      parent
    end

    # The handler waits for what the second fiber does. If the first fiber blocked the thread, its call would time out.
    def first_waits_for_second
      FiberScheduler.run do
        answer = nil
        first = Fiber.schedule { answer = yield }
        Fiber.schedule { gate << true }
        sleep 0.001 while first.alive?
        answer
      end
    end

    ways = {
      "send_to_group" => ->(call) { call.parent.send_to_group(content: 1, to: "child").value },
      "Future#value" => ->(call) { call.ask.value },
      "Future#response" => ->(call) { call.ask.response.value },
      "Future#wait" => ->(call) { call.ask.tap(&:wait).value },
      "Future#wait with a timeout" => ->(call) { call.ask.wait(20) && 1 },
      "ChainedFuture#value" => ->(call) { call.ask.then { |value| value }.value },
      "ChainedFuture#wait" => ->(call) { call.ask.then { nil }.then { nil }.wait(20) && 1 }
    }
    ways.each do |name, way|
      it(name) { expect(first_waits_for_second { way.call(self) }).to eq(1) }
    end

    it "Channel.trigger_event" do
      opened = gate
      channel = Class.new(RedisIPC::Channel) do
        stream "house"
        channel "kitchen"
        event("cook") { opened.pop && "done" }
      end
      channel.connect(redis_options: redis_options)
      expect(first_waits_for_second { channel.trigger_event("cook", target: "kitchen").value }).to eq("done")
    ensure
      channel&.disconnect
    end

    it "disconnect, which waits for a handler" do
      started = Queue.new
      opened = gate
      other = connect("other") { |entry| (started << 1) && opened.pop && fulfill_request(entry, content: 3) }
      future = ask(1, to: "other")
      next_of(started)
      expect(first_waits_for_second { other.disconnect(timeout: 20).connected? }).to be(false)
      expect(future.value).to eq(3)
    end
  end

  it "connect lets other fibers run" do
    server = start_server
    Process.kill(:STOP, server.pid)
    stream = build("late")
    FiberScheduler.run do
      Fiber.schedule { stream.connect(redis_options: { path: server.path, connect_timeout: 20 }) }
      Fiber.schedule { Process.kill(:CONT, server.pid) }
    end
    expect(stream).to be_connected
    expect(FiberScheduler.run { stream.instances.size }).to eq(1)
  end

  it "a thousand fibers of one thread can wait at the same time" do
    connect("child", &echo)
    stream = parent
    answers = []
    ask = ->(index) { answers << (stream.send_to_group(content: index, to: "child").value == index) }
    FiberScheduler.run { 1000.times { |index| Fiber.schedule { ask.call(index) } } }
    expect(answers.tally).to eq(true => 1000)
    expect(stream.stats).to include(requests: 1000, fulfilled: 1000, open_calls: 0)
  end

  it "many fibers and threads wait for one call" do
    connect("child", &echo_later)
    future = ask
    wait = -> { Array.new(3) { Fiber.schedule { future.value } } && future.value }
    threads = Array.new(3) { Thread.new { FiberScheduler.run(&wait) } }
    gate << true
    expect(threads.map(&:value) << future.value).to all(eq(1))
  end

  def echo_later
    opened = gate
    proc { |entry| opened.pop && fulfill_request(entry, content: entry.content) }
  end

  it "the end of a call wakes the fiber that waits for it, which would else sleep until the deadline" do
    connect("child", &echo)
    parent
    answers = []
    took = seconds do
      FiberScheduler.run { Fiber.schedule { 5.times { |number| answers << ask(number, timeout: 40).value } } }
    end
    expect(answers).to eq([0, 1, 2, 3, 4])
    expect(took).to be < 20
  end

  it "a deadline is kept, and the error has its outcome" do
    stream = parent
    ticks = 0
    error = FiberScheduler.run do
      Fiber.schedule { 5.times { (ticks += 1) && sleep(0.02) } }
      unclaimed { stream.send_to_group(content: 1, to: "nobody", timeout: 0.2) }
    end
    expect(error.outcome).to eq(:unclaimed)
    expect(ticks).to eq(5)
    stats = stream.stats
    expect(stats).to include(timed_out: stats[:requests], open_calls: 0)
  end

  it "a wait ends when its time is up" do
    connect("child", &echo_later)
    future = ask
    expect(FiberScheduler.run { future.wait(0.05) }).to be(false)
    chained = future.then { |value| value + 1 }
    expect(FiberScheduler.run { chained.wait(0.05) }).to be(false)
    gate << true
    expect(FiberScheduler.run { chained.value }).to eq(2)
  end

  it "a call whose fiber is stopped is cancelled; the next one gets its own answer" do
    connect("child", &echo)
    stream = parent
    stopped = Class.new(StandardError)
    answer = FiberScheduler.run do
      waiting = Fiber.schedule do
        stream.send_to_group(content: 1, to: "nobody", timeout: 30)
      rescue stopped
        nil
      end
      waiting.raise(stopped)
      stream.send_to_group(content: 2, to: "child").value
    end
    expect(answer).to eq(2)
    expect(stream.stats).to include(cancelled: 1, fulfilled: 1, open_calls: 0)
    eventually { !redis.exists?("house:inbox:nobody") || redis.xlen("house:inbox:nobody").zero? }
  end

  it "the stream ends the waits of fibers, and leaves no thread behind" do
    stream = parent
    error = FiberScheduler.run do
      Fiber.schedule { stream.disconnect }
      stream.send_to_group(content: 1, to: "nobody", timeout: 30)
    rescue RedisIPC::Error => e
      e
    end
    expect(error).to be_a(RedisIPC::NotConnectedError)
    eventually { wakers.zero? }
  end

  describe "a JSON-RPC client" do
    let(:client) { rpc_client }

    def serve
      opened = gate
      rpc_server { |server| server.on("wait") { |value| opened.pop && value } }
      client
    end

    ways = {
      "call" => ->(client) { client.call("wait", 1) },
      "a proxy's method" => ->(client) { client.proxy.wait(1) },
      "batch" => ->(client) { client.batch { |batch| batch.call("wait", 1) }.first }
    }
    ways.each do |name, way|
      it("lets other fibers run: #{name}") do
        serve
        answer = nil
        FiberScheduler.run do
          Fiber.schedule { answer = way.call(client) }
          Fiber.schedule { gate << true }
        end
        expect(answer).to eq(1)
      end
    end

    it "lets a thousand fibers of one thread wait at once, and notify" do
      heard = Queue.new
      rpc_server do |server|
        server.on("echo") { |value| value }
        server.on("note") { |value| heard << value }
      end
      caller = client
      answers = []
      FiberScheduler.run do
        1000.times { |index| Fiber.schedule { answers << (caller.call("echo", index) == index) } }
        Fiber.schedule { caller.notify("note", 7) }
      end
      expect(answers.tally).to eq(true => 1000)
      expect(next_of(heard)).to eq(7)
      expect(caller.stats).to include(requests: 1001, fulfilled: 1001, open_calls: 0)
    end

    it "is woken by the end of a call" do
      rpc_server { |server| server.on("echo") { |value| value } }
      answers = []
      caller = client
      took = seconds do
        FiberScheduler.run do
          Fiber.schedule do
            5.times do |number|
              answers << caller.call("echo", number, timeout: 40)
            end
          end
        end
      end
      expect(answers).to eq([0, 1, 2, 3, 4])
      expect(took).to be < 20
    end

    it "keeps a deadline, and raises an error with its outcome" do
      caller = client
      ticks = 0
      error = FiberScheduler.run do
        Fiber.schedule { 5.times { (ticks += 1) && sleep(0.02) } }
        unclaimed { caller.call("nothing", timeout: 0.2) }
      end
      expect(error.outcome).to eq(:unclaimed)
      expect(ticks).to eq(5)
      expect(redis.llen("calculator")).to eq(0)
      stats = caller.stats
      expect(stats).to include(timed_out: stats[:requests], open_calls: 0)
    end

    it "gives up a call whose fiber is stopped; the next one gets its own answer" do
      caller = client
      stopped = Class.new(StandardError)
      FiberScheduler.run do
        waiting = Fiber.schedule do
          caller.call("nothing", timeout: 30)
        rescue stopped
          nil
        end
        waiting.raise(stopped)
      end
      eventually { redis.llen("calculator").zero? }
      rpc_server { |server| server.on("echo") { |value| value } }
      expect(FiberScheduler.run { caller.call("echo", 2) }).to eq(2)
      expect(caller.stats).to include(cancelled: 1, fulfilled: 1, failed: 0, open_calls: 0)
    end

    it "connects while other fibers run" do
      server = start_server
      Process.kill(:STOP, server.pid)
      options = { path: server.path, connect_timeout: 20 }
      late = keep(RedisIPC::JSONRPC::Client.new("calculator", redis_options: options)).last
      FiberScheduler.run do
        Fiber.schedule { late.connect }
        Fiber.schedule { Process.kill(:CONT, server.pid) }
      end
      expect(late).to be_connected
    end

    it "ends the waits of fibers when it is disconnected, and leaves no thread behind" do
      caller = client
      error = FiberScheduler.run do
        Fiber.schedule { caller.disconnect }
        caller.call("nothing", timeout: 30)
      rescue RedisIPC::Error => e
        e
      end
      expect(error).to be_a(RedisIPC::NotConnectedError)
      eventually { wakers.zero? }
    end
  end

  it "costs nothing without a scheduler" do
    connect("child", &echo)
    expect(ask.value).to eq(1)
    expect(ask.then { |value| value }.value).to eq(1)
    # Wakers of other examples may still be ending. A waker that was left behind would stay.
    eventually { wakers.zero? }
  end

  describe "of the async gem", gem: "async" do
    before(:context) { require "async" }

    def async(&block)
      Thread.new { Async(&block).wait }.value
    end

    it "tasks wait side by side" do
      connect("child", &echo_later)
      stream = parent
      opened = gate
      values = async do |task|
        tasks = Array.new(20) { |index| task.async { stream.send_to_group(content: index, to: "child").value } }
        20.times { opened << true }
        tasks.map(&:wait)
      end
      expect(values).to eq((0...20).to_a)
    end

    it "a task that is stopped, or whose time is up, cancels its call" do
      stream = parent
      async do |task|
        waiting = task.async { stream.send_to_group(content: 1, to: "nobody", timeout: 30) }
        waiting.stop
        expect { task.with_timeout(0.05) { stream.send_to_group(content: 1, to: "nobody", timeout: 30) } }
          .to raise_error(Async::TimeoutError)
      end
      expect(stream.stats).to include(cancelled: 2, open_calls: 0)
    end

    it "a chained future that is waited for may be stopped" do
      connect("child", &echo_later)
      chained = ask.then { |value| value }
      async { |task| task.async { chained.wait }.stop }
      gate << true
      expect(async { chained.value }).to eq(1)
    end
  end
end

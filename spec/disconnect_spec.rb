# frozen_string_literal: true

RSpec.describe "disconnecting" do
  it "lets running handlers finish" do
    started = Queue.new
    child = connect("child") do |entry|
      started << entry
      sleep 0.3
      fulfill_request(entry, content: "finished")
    end
    future = connect("parent").async_send_to_group(content: 1, to: "child")
    next_of(started)
    child.disconnect
    expect(future.value).to eq("finished")
    expect(child).not_to be_connected
  end

  it "waits for them no longer than it is told" do
    started = Queue.new
    gate = Queue.new
    child = connect("child") { |entry| (started << entry) && gate.pop }
    connect("parent").async_send_to_group(content: 1, to: "child")
    next_of(started)
    expect(seconds { child.disconnect(timeout: 0.2) }).to be < 2
    gate << true
  end

  it "gives requests that were not started back to the group" do
    started = Queue.new
    gate = Queue.new
    child = connect("child", consumer: { pool_size: 1 }) do |entry|
      started << entry
      gate.pop
      fulfill_request(entry, content: "first")
    end
    parent = connect("parent")
    first = parent.async_send_to_group(content: 1, to: "child")
    next_of(started)
    second = parent.async_send_to_group(content: 2, to: "child")
    closing = Thread.new { child.disconnect }
    connect("child") { |entry| fulfill_request(entry, content: "second") }
    expect(second.value).to eq("second")
    gate << true
    expect(first.value).to eq("first")
    closing.join
  end

  it "may be called again, by many threads at once" do
    child = connect("child", &echo)
    expect(Array.new(5) { Thread.new { child.disconnect } }.map(&:value)).to all(be(child))
    expect(child.disconnect).to be(child)
  end

  it "works from inside a handler" do
    child = connect("child") do |entry|
      disconnect
      fulfill_request(entry, content: stream.connected?)
    end
    expect(connect("parent").send_to_group(content: 1, to: "child").value).to be(false)
    expect(child).not_to be_connected
    eventually { redis.keys.grep(/inbox:child|replies:child/).empty? }
  end

  it "works from inside on_error and from a future's block" do
    both = connect("both", &echo)
    both.async_send_to_group(content: 1, to: "both").then { both.disconnect }.wait(10)
    expect(both).not_to be_connected
    failing = build("failing") { raise "oh" }
    told = Queue.new
    failing.on_error { |error| failing.disconnect && (told << error) }
    failing.connect(redis_options: redis_options)
    connect("parent").send_to_group(content: 1, to: "failing")
    next_of(told)
    expect(failing).not_to be_connected
  end

  it "ends the calls under way" do
    connect("child") { nil }
    parent = connect("parent")
    caller = Thread.new do
      parent.send_to_group(content: 1, to: "child")
    rescue RedisIPC::Error => e
      e
    end
    eventually { parent.stats[:open_calls] == 1 }
    parent.disconnect
    expect(caller.value).to be_a(RedisIPC::NotConnectedError)
    expect(caller.value.outcome).to eq(:unknown)
  end

  it "can be followed by connect" do
    child = connect("child", &echo)
    first = child.instance_id
    child.disconnect
    expect(child.instance_id).to be_nil
    child.connect(redis_options: redis_options)
    expect(child.instance_id).not_to eq(first)
    expect(connect("parent").send_to_group(content: 1, to: "child").value).to eq(1)
  end

  it "refuses a bad timeout" do
    [nil, -1, "1"].each do |timeout|
      expect do
        connect("a#{timeout}").disconnect(timeout: timeout)
      end.to raise_error(ArgumentError)
    end
  end

  describe "leaves nothing behind:" do
    it "no key, once everyone has left" do
      child = connect("child", &echo)
      parent = connect("parent")
      20.times { |index| parent.send_to_group(content: index, to: "child") }
      [parent, child].each(&:disconnect)
      expect(redis.keys).to be_empty
    end

    it "except for the empty inbox of a group that nobody joined, until it expires" do
      parent = connect("parent")
      unclaimed { parent.send_to_group(content: 1, to: "nobody", timeout: 0.05) }
      parent.disconnect
      inbox = "house:inbox:nobody"
      expect(redis.keys).to eq([inbox])
      expect([redis.xlen(inbox), redis.pttl(inbox)]).to match([0, be_between(1, 3_660_000)])
    end

    it "because every key in use has an expiry, in case the process dies" do
      process = answering_process("child")
      parent = connect("parent")
      parent.send_to_group(content: 1, to: "child")
      future = parent.async_send_to_group(content: 1, to: "nobody")
      eventually { redis.exists?("house:inbox:nobody") }
      process.kill
      keys = redis.keys
      expect(keys).to include("house:inbox:child", "house:inbox:nobody", "house:instances")
      expect(keys_beside_records.map { |key| redis.pttl(key) }).to all(be_between(1, 3_660_000))
      expect(redis.pttl("house:stats")).to be_between(1, 691_200_000)
      parent.disconnect
      expect { future.value }.to raise_error(RedisIPC::Error)
    end

    it "except for requests that nobody has answered yet, until their deadlines" do
      parent = connect("parent")
      future = parent.async_send_to_group(content: 1, to: "child", timeout: 30)
      eventually { redis.exists?("house:inbox:child") }
      connect("other", &echo).disconnect
      connect("child", &echo)
      expect(future.value).to eq(1)
    end

    it "no thread and no socket, without waiting for the garbage collector" do
      connect("warm up", &echo).disconnect
      GC.start
      GC.disable
      before = [Thread.list.size, native_threads, sockets]
      3.times do
        both = connect("both", &echo)
        both.send_to_group(content: 1, to: "both")
        both.disconnect
      end
      # Fewer are fine: Ruby keeps the native threads of other examples for a few seconds.
      eventually { before.zip([Thread.list.size, native_threads, sockets]).all? { |first, last| last <= first } }
    ensure
      GC.enable
    end
  end

  it "happens by itself when the process ends" do
    ["exit", "raise Interrupt", "Process.kill(:TERM, Process.pid); sleep"].each do |ending|
      process = ruby(<<~RUBY)
        $stderr.reopen($stdout)
        stream = RedisIPC::Stream.new("house", "child")
        stream.on_request { |entry| fulfill_request(entry, content: 1) }
        stream.connect
        stream.send_to_group(content: 1, to: "child")
        puts "ready"
        begin
          #{ending}
        rescue Interrupt
          exit
        end
      RUBY
      expect(process.line).to eq("ready")
      process.wait(timeout: 10)
      expect(process.rest.lines.grep_v(/SignalException/)).to be_empty
      expect(redis.keys).to be_empty
    end
  end

  def native_threads
    Dir.children("/proc/self/task").size
  end

  def sockets
    Dir.children("/proc/self/fd").count do |fd|
      File.readlink("/proc/self/fd/#{fd}").start_with?("socket")
    rescue Errno::ENOENT
      false
    end
  end
end

# frozen_string_literal: true

require "json"

# What an instance says of itself in Redis, read with a plain client, and what its group is told to do.
RSpec.describe "the record of an instance" do
  let(:gate) { Queue.new }
  # The shortest time between two records of an instance in trouble is a second.
  let(:consumer) { { pool_size: 2, lease: 0.5 } }

  after { gate.close }

  def record_of(stream, group)
    text = redis.get("house:stats:#{group}:#{stream.instance_id}")
    text && JSON.parse(text, symbolize_names: true)
  end

  # Returns the record once the block is true of it.
  def awaited_record(stream, group)
    eventually { record_of(stream, group)&.then { |record| record if yield record } }
  end

  # Makes an instance write its record, and read what it is told, within a second.
  def trouble(stream)
    stream.send_to_group(content: 1, to: "nobody", timeout: 0.01)
  rescue RedisIPC::TimeoutError
    nil
  end

  def control(group, told)
    redis.set("house:control:#{group}", JSON.generate({ v: 1, at: 0, by: "spec" }.merge(told)))
  end

  it "is there once it is connected, and gone once it has left in order" do
    stream = connect("a:b", consumer: { lease: 60 }, &echo)
    id = stream.instance_id
    key = "house:stats:a%3Ab:#{id}"
    record = JSON.parse(redis.get(key), symbolize_names: true)
    expect(redis.pttl(key)).to be_between(590_000, 600_000)
    now = redis.time.then { |seconds, micros| (seconds * 1_000) + (micros / 1_000) }
    expect(record).to include(v: 1, kind: "request_reply", stream: "house", group: "a:b", instance: id,
                              host: Socket.gethostname, pid: Process.pid, gem: RedisIPC::VERSION, paused: false,
                              handlers: 3, busy: 0, running: [], outcomes: {}, incidents: [],
                              settings: { lease: 60_000, max_deliveries: 5, delivery: "at_least_once",
                                          longest_ttl: 3_600_000 },
                              series: { every: 10_000, asked: [], answered: [], failed: [], run_ms: [] })
    expect(record.values_at(:started, :written)).to all(be_between(now - 10_000, now))
    expect(record[:counters].keys + %i[open_calls held_requests paused handlers busy_handlers])
      .to match_array(stream.stats.keys)
    expect(record[:histograms].keys).to contain_exactly(:call, :wait, :run)
    index = redis.zrange("house:stats", 0, -1, with_scores: true).to_h
    expect(index.keys).to eq(["a%3Ab:#{id}"])
    expect(index["a%3Ab:#{id}"] - now).to be_between(650_000, 660_000)
    expect(redis.pttl("house:stats")).to be_between(691_190_000, 691_200_000)
    stream.disconnect
    expect(redis.exists?(key)).to be(false)
    expect(redis.exists?("house:stats")).to be(false)
  end

  it "tells how calls ended, how long they took, and what went wrong" do
    asking = connect("parent", consumer: consumer)
    connect("child", consumer: consumer) do |entry|
      entry.content == "no" ? reject_request(entry, content: "no") : fulfill_request(entry, content: entry.content)
    end
    20.times { |number| asking.send_to_group(content: number, to: "child") }
    asking.send_to_group(content: "no", to: "child")
    trouble(asking)
    record = awaited_record(asking, "parent") { |it| it[:outcomes].key?(:nobody) }
    expect(record[:outcomes]).to include(
      child: { fulfilled: 20, rejected: 1, unclaimed: 0, unknown: 0, not_sent: 0 },
      nobody: { fulfilled: 0, rejected: 0, unclaimed: 1, unknown: 0, not_sent: 0 }
    )
    expect(record).to include(handlers: 0, settings: { longest_ttl: 3_600_000 },
                              counters: include(requests: 22, timed_out: 1))
    call = record[:histograms][:call]
    expect(call).to include(scale: 3, unit: "s", count: 21, zero: 0)
    expect(call[:buckets].sum).to eq(21)
    expect(call[:sum]).to be_between(21 * call[:min], 21 * call[:max])
    base = 2**(2**-3.0)
    expect(base**call[:offset]).to be < call[:min]
    expect(base**(call[:offset] + call[:buckets].size)).to be >= call[:max]
  end

  it "tells what runs, for whom, since when and at which line, while all handlers hang" do
    gate = self.gate
    line = __LINE__ + 4
    child = Class.new(RedisIPC::Channel) do
      stream "house"
      channel "child"
      event("wait") { gate.pop }
    end
    child.connect(redis_options: redis_options, consumer: consumer, logger: Logger.new(StringIO.new))
    asking = connect("parent")
    3.times { asking.async_send_to_group(content: { event: "wait", params: {} }, to: "child", timeout: 0.2) }
    stream = RedisIPC.const_get(:ChannelState).of(child).connection
    record = awaited_record(stream, "child") { |it| it[:running].all? { |handler| handler[:frame] } && it[:busy] == 2 }
    expect(record).to include(handlers: 2, busy: 2)
    expect(record[:running].map { |it| it.slice(:from, :event, :delivery) })
      .to eq([{ from: "parent", event: "wait", delivery: 1 }] * 2)
    expect(record[:running]).to all(include(id: /\A\h{32}\z/, frame: /\A\S*record_spec\.rb:#{line}:in /))
    expect(record[:running].map { |it| it[:since] }).to all(be_between(record[:written] - 10_000, record[:written]))
    expect(record[:incidents]).to include(include(kind: "overrun", text: /\Athe handler of \d+-\d+ runs on/))
    gate << 1 << 1
    asking.send_to_group(content: { event: "none" }, to: "child")
    ended = awaited_record(stream, "child") { |it| it[:busy].zero? }
    expect(ended[:histograms][:run]).to include(count: be >= 2, max: be >= 0.5)
    expect(ended[:histograms][:wait]).to include(count: be >= 2)
  ensure
    child&.disconnect
  end

  it "is that of a JSON-RPC server, too, which pauses with its queue" do
    gate = self.gate
    line = __LINE__ + 1
    server = rpc_server(threads: 2, lease: 0.5) { |it| it.on("wait") { |_number| gate.pop } }
    client = rpc_client
    calls = Array.new(2) { |number| Thread.new { client.call("wait", number, timeout: 20) } }
    key = eventually { redis.keys("calculator:stats::*").first }
    record = nil
    eventually do
      record = JSON.parse(redis.get(key), symbolize_names: true)
      record[:running].count { |run| run[:frame] } == 2
    end
    expect(record).to include(kind: "json_rpc", stream: "calculator", group: "", handlers: 2, busy: 2, paused: false,
                              settings: { lease: 500, max_deliveries: 5, delivery: "at_least_once" })
    expect(record[:running]).to all(include(id: /\A\d+\z/, from: "", event: "wait", delivery: 1,
                                            frame: /record_spec\.rb:#{line}:in /))
    expect(record[:counters].keys).to match_array(server.stats.keys - %i[held_requests paused handlers busy_handlers])
    expect(redis.zrange("calculator:stats", 0, -1)).to eq([":#{key.split(":").last}"])
    redis.set("calculator:control:", JSON.generate(v: 1, paused: true))
    eventually { server.paused? }
    2.times { |number| gate << number }
    expect(calls.map(&:value)).to contain_exactly(0, 1)
    expect { client.call("wait", 3, timeout: 0.3) }
      .to raise_error(RedisIPC::TimeoutError) { |error| expect(error.outcome).to eq(:unclaimed) }
    redis.del("calculator:control:")
    expect(rpc_server { |it| it.on("go") { 4 } }).not_to be_paused
    expect(client.call("go")).to eq(4)
    server.disconnect
    expect(redis.exists?(key)).to be(false)
  end

  it "is written while the handler lets no other Ruby thread run" do
    process = ruby(<<~RUBY)
      stream = RedisIPC::Stream.new("house", "child")
      stream.on_request { |entry| "x".crypt("$6$rounds=16000000$saltsalt") && entry.fulfill(1) }
      stream.connect(consumer: { lease: 0.5 })
      puts "ready"
      sleep
    RUBY
    process.line
    connect("parent").async_send_to_group(content: 1, to: "child", timeout: 30)
    key = eventually { redis.keys("house:stats:child:*").first }
    written = lambda do
      eventually { JSON.parse(redis.get(key)).then { |it| it["written"] if it["busy"] == 1 } }
    end
    first = written.call
    eventually(timeout: 10) { written.call > first }
    process.kill
  end

  it "obeys the control key: a group pauses, those who join it too, and goes on when the key is gone" do
    gate = self.gate
    child = connect("child", consumer: consumer) { |entry| entry.fulfill(entry.content == "wait" ? gate.pop : 2) }
    parent = connect("parent")
    running = parent.async_send_to_group(content: "wait", to: "child", timeout: 20)
    eventually { child.stats[:busy_handlers] == 1 }
    control("child", paused: true)
    trouble(child)
    eventually { child.paused? }
    newcomer = connect("child", consumer: consumer, &echo)
    expect(newcomer.stats[:paused]).to eq(1)
    gate << "done"
    expect(running.value).to eq("done")
    waiting = parent.async_send_to_group(content: 2, to: "child", timeout: 20)
    expect { parent.send_to_group(content: 3, to: "child", timeout: 0.5) }
      .to raise_error(RedisIPC::TimeoutError) { |error| expect(error.outcome).to eq(:unclaimed) }
    control("child", quiet: [child.instance_id])
    [child, newcomer].each { |stream| trouble(stream) }
    expect(waiting.value).to eq(2), "the newcomer is not among those that are quiet"
    expect([child, newcomer].map(&:paused?)).to eq([true, false])
    redis.del("house:control:child")
    trouble(child)
    eventually { !child.paused? }
    expect(errors).to be_empty
  end
end

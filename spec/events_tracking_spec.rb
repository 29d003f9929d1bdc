# frozen_string_literal: true

RSpec.describe "events of keys that are cached" do
  attr_reader :server

  before(:context) { @server = RedisServer.new }

  after(:context) { server.stop }

  let(:client) { server.client }
  let(:got) { Queue.new }

  # Handles invalidations. Errors are in `errors`; losses are in `got`, by their cause.
  def track(names = "user:*", redis_options: { path: server.path }, **words, &block)
    kept = got
    words = { redis_options: redis_options, on_loss: ->(loss) { kept << [loss.cause, loss.at_most] }, **words }
    block ||= ->(event) { kept << event.key }
    consume_from(tracking: names, **words, &block)
  end

  def subscribers
    client.call("PUBSUB", "NUMSUB", "__redis__:invalidate").last
  end

  it "name each key that has changed, and nothing else" do
    kept = got
    track { |event| kept << event }
    client.set("user:1", "a")
    event = next_of(got)
    expect(event).to have_attributes(
      source: "tracking", kind: :tracking, operation: :message, type: "invalidate", key: "user:1", data: nil, old: nil,
      position: nil, guarantee: :at_most_once, attempt: 1, metadata: { node: server.path },
      received_at: be_within(10).of(Time.now)
    )
    expect(event.to_h).to include("kind" => "tracking", "key" => "user:1", "data" => nil, "operation" => "message")
    expect(Marshal.load(Marshal.dump(event)).to_h).to eq(event.to_h)
  end

  it "are events of cdc-core with the key, which is nil of a flush" do
    stub_const("CDC::Core::ChangeEvent", Struct.new(:operation, :schema, :table, :old_values, :new_values, :primary_key,
                                                    :occurred_at, :metadata, keyword_init: true))
    kept = got
    track(order: :source) { |event| kept << event.to_cdc }
    client.set("user:1", "a")
    expect(next_of(got)).to have_attributes(
      operation: :message, schema: "redis", table: "tracking", old_values: nil, new_values: nil,
      primary_key: { "key" => "user:1" }, metadata: include("delivery" => "at_most_once", "node" => server.path)
    )
    client.flushall
    expect([next_of(got), next_of(got).primary_key]).to eq([[:flushed, nil], nil])
  end

  it "come of keys that are written, deleted and expire, each once for what runs together, by prefix" do
    track(["user:*", "a*"])
    client.mset("user:1", 1, "other", 2, "user:\xFF".b, 3, "ab", 4)
    client.del("user:1")
    client.set("user:2", "a", px: 50)
    eventually { client.get("user:2").nil? }
    client.eval("for i = 1, 3 do redis.call('SET', 'user:3', i) end")
    client.set("ab", "last")
    told = []
    told << next_of(got) until told.count("ab") == 2
    expect(told.tally).to eq("user:1" => 2, "user:\xFF".b => 1, "ab" => 2, "user:2" => 2, "user:3" => 1)
  end

  it "are of all keys with *" do
    track("*")
    client.set("x", 1)
    expect(next_of(got)).to eq("x")
  end

  it "are of no key if everything was flushed, which is the loss of all in its place" do
    kept = got
    track(order: :source) { |event| kept << [event.type, event.key] }
    client.set("user:1", "a")
    client.flushall
    client.set("user:1", "b")
    expect(next_ones(4)).to eq([%w[invalidate user:1], [:flushed, nil], ["flush", nil], %w[invalidate user:1]])
  end

  it "may be missing, without a bound, when the connection was lost" do
    sub = track
    client.set("user:1", "a")
    client.call("CLIENT", "KILL", "TYPE", "pubsub")
    expect(next_ones(2)).to eq(["user:1", [:disconnected, nil]])
    eventually { subscribers == 1 }
    client.set("user:2", "a")
    expect(next_of(got)).to eq("user:2")
    expect(sub.stats).to include(losses: 1, reconnections: 1)
  end

  it "may be missing also from shortly before the last PING: its answer can overtake them" do
    kept = got
    track(on_loss: kept.method(:<<)) { |event| event }
    pings = -> { client.info("commandstats").dig("ping", "calls").to_i }
    before = pings.call
    eventually { pings.call >= before + 3 }
    client.call("CLIENT", "KILL", "TYPE", "pubsub")
    loss = next_of(got)
    expect(loss.until - loss.since).to be > 1
  end

  it "are dropped if there is no room, which is told" do
    gate = Queue.new
    kept = got
    sub = track(prefetch: 2, order: :source) { |event| (kept << event.key) && gate.pop }
    client.set("user:0", "a")
    next_of(got)
    (1..5).each { |number| client.set("user:#{number}", "a") }
    eventually { sub.stats[:taken] == 6 }
    gate.close
    expect(next_ones(3)).to eq([[:slow_consumer, 3], "user:4", "user:5"])
  end

  it "are not made up by who publishes to their channel" do
    sub = track
    client.publish("__redis__:invalidate", "user:1")
    client.set("user:2", "a")
    expect([next_of(got), sub.stats[:taken]]).to eq(["user:2", 1])
  end

  it "of many keys that changed together come one by one" do
    track(prefetch: 30_000)
    client.eval("for i = 1, 20000 do redis.call('SET', 'user:' .. i, i) end")
    expect(next_ones(20_000)).to match_array((1..20_000).map { |number| "user:#{number}" })
  end

  describe "keep a cache right" do
    let(:values) { {} }
    let(:reading) { {} }
    let(:lock) { Mutex.new }

    # Reads a key by the cache. What is dropped while it is read is not kept.
    def cached(key, redis)
      mine = Object.new
      lock.synchronize do
        return values[key] if values.key?(key)

        reading[key] = mine
      end
      value = redis.get(key)
      lock.synchronize { values[key] = value if mine.equal?(reading[key]) }
    end

    # Writes and reads random keys in threads, until the block has returned.
    def under_load
      stop = false
      write = ->(redis) { redis.set("user:#{rand(200)}", rand(1_000_000)) }
      read = ->(redis) { cached("user:#{rand(200)}", redis) }
      threads = [write, read, write, read].map do |work|
        Thread.new { server.client.then { |redis| work.call(redis) until stop } }
      end
      yield
    ensure
      stop = true
      threads&.each(&:join)
    end

    # Waits until all invalidations are handled.
    def settle(sub, marks)
      eventually { subscribers == 1 }
      client.set("user:mark", "a")
      next_of(marks)
      eventually { sub.stats[:held].zero? }
    end

    it "under load, while connections break, all is flushed, and there is no room" do
      marks = Queue.new
      drop = lambda do |key|
        lock.synchronize { [values, reading].each { |kept| key ? kept.delete(key) : kept.clear } }
        marks << key if key == "user:mark"
      end
      causes = Queue.new
      on_loss = lambda do |loss|
        drop.call(nil)
        causes << loss.cause
      end
      sub = track(prefetch: 300, on_loss: on_loss) { |event| drop.call(event.key) }
      burst = "for i = 1, 2000 do redis.call('SET', 'user:' .. (i % 1000), i) end"
      faults = [-> { client.call("CLIENT", "KILL", "TYPE", "pubsub") }, -> { client.flushall },
                -> { client.eval(burst) }]
      faults.cycle(2) do |fault|
        under_load do
          eventually { values.size > 50 }
          fault.call
          eventually { values.size > 50 }
        end
        settle(sub, marks)
        expect(values.reject { |key, value| client.get(key) == value }).to be_empty
      end
      expect(Array.new(causes.size) { causes.pop }).to include(:disconnected, :flushed)
    end
  end

  it "are refused for what Redis cannot track" do
    refused = ->(names, message) { expect { track(names) }.to raise_error(RedisIPC::ConfigurationError, message) }
    ["user:1", "u*er:*", "user:?*", "[ab]*"].each do |name|
      refused.call(name, /tracking .* is no prefix: .* the only pattern is a \* at the end, as in "user:\*"/)
    end
    refused.call(["user:*", "user:1*"], /tracking "user:1\*" is a part of "user:\*"/)
    refused.call([], /tracking of .* needs a name: tracking "user:\*"/)
    misused = ->(message, **words) { expect { track(**words) }.to raise_error(RedisIPC::ConfigurationError, message) }
    misused.call(/must be one of :key, :source, :none/, order: :channel)
    misused.call(/unknown option :value of tracking/, value: true)
  end

  it "come from every node of a cluster, and from one that takes the place of another" do
    cluster = RedisCluster.new
    kept = got
    track("*", redis_options: cluster.options) { |event| kept << [event.key, event.metadata[:node]] }
    names = cluster.masters.map { |node| cluster.name_on(node, "key") { |name| name } }
    names.each { |name| cluster.master_of(name).client.set(name, "a") }
    expect(next_ones(3)).to match_array(names.map { |name| [name, "127.0.0.1:#{cluster.master_of(name).port}"] })
    replica = cluster.kill_master_of(names.first)
    expect(next_of(got, timeout: 30)).to eq([:failover, nil])
    replica.client.set(names.first, "b")
    expect(next_of(got)).to eq([names.first, "127.0.0.1:#{replica.port}"])
  ensure
    cluster&.stop
  end
end

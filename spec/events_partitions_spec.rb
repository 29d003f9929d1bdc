# frozen_string_literal: true

# Events that are spread over several streams by key, and handled in order by key: in one process, among real processes
# that are killed, and in a cluster.
RSpec.describe "events in partitions" do
  let(:got) { Queue.new }
  let(:losses) { Queue.new }

  # Starts a process that consumes the 8 partitions of "orders". Its handler appends what it handles to the list
  # "seen:KEY".
  def partitioned
    ruby(<<~RUBY).tap { |process| expect(process.line).to eq("ready") }
      require "logger"
      require "redis"
      REDIS = Redis.new(url: ENV.fetch("REDIS_URL"))
      def say(*words) = $stdout.write(words.join(" ") + "\n")
      options = { redis_options: { url: ENV.fetch("REDIS_URL") }, logger: Logger.new(IO::NULL), lease: 0.6 }
      subscription = RedisIPC::Events.consume(stream: "orders", group: "billing", from: :beginning,
                                              order: [:key, { partitions: 8 }], **options) do |event|
        sleep(0.001)
        REDIS.rpush("seen:\#{event.key}", event.data)
        REDIS.sadd?("by:\#{event.source}", Process.pid)
      end
      say("ready")
      say(subscription.stats[:lanes]) while $stdin.gets
      subscription.stop
    RUBY
  end

  def lanes_of(process)
    process.puts("lanes")
    process.line.to_i
  end

  def publish_to(count = 4, **options)
    options = { redis_options: redis_options, partitions: count, **options }
    RedisIPC::Events.publish("orders", options.delete(:data), **options)
  end

  # Publishes `count` events for each key, with the keys mixed.
  def publish_keys(count, keys: 20, partitions: 8)
    events = (0...count).flat_map { |number| (0...keys).map { |key| { data: number, key: key } } }
    RedisIPC::Events.publish_all("orders", events, partitions: partitions, redis_options: redis_options)
  end

  def in_partitions(count = 4, order: {}, **words, &block)
    consume(order: [:key, { partitions: count, **order }], **words, &block)
  end

  # Returns the stream of a key among 4 partitions.
  def stream_of(key)
    "orders:#{RedisIPC::Events.partition(key, 4)}"
  end

  # Returns a key for each of 4 partitions.
  def keys
    @keys ||= (0..).lazy.map(&:to_s).each_with_object({}) do |key, found|
      found[stream_of(key)] ||= key
      break found.sort.map(&:last) if found.size == 4
    end
  end

  it "are spread by their keys, and in order by key" do
    # The values of Python's `binascii.crc_hqx(key, 0) % 16`.
    expect([7, "order 8", :x].map { |key| RedisIPC::Events.partition(key, 16) }).to eq([4, 7, 15])
    kept = got
    positions = publish_keys(3, partitions: 4)
    in_partitions { |event| kept << [event.key, event.data, event.source, event.position, event.metadata] }
    events = next_ones(60)
    events.group_by(&:first).each do |key, list|
      expect(list.map { |event| event[1] }).to eq([0, 1, 2])
      expect(list.map { |event| event[2] }).to all(eq(stream_of(key)))
    end
    expect(events.map { |event| event[3] }).to match_array(positions)
    expect(redis.keys("orders:?").sort).to eq(%w[orders:0 orders:1 orders:2 orders:3])
    expect(events.first.last).to include(stream: "orders", partition: Integer)
  end

  it "without a key are in the partition of their id, or in a random one" do
    kept = got
    in_partitions { |event| kept << [event.key, event.source] }
    2.times { publish_to(data: 1, id: "row 9") }
    publish_to(data: 2)
    expect(next_ones(2)).to include([nil, stream_of("row 9")])
    expect(got).to be_empty
  end

  it "are handled by those that are left when a process is killed, and nothing is missing or out of order" do
    workers = Array.new(2) { partitioned }
    eventually { workers.map { |worker| lanes_of(worker) } == [4, 4] }
    publish_keys(60)
    eventually { redis.keys("seen:*").size > 10 }
    workers.first.kill
    first_seen = -> { (0...20).map { |key| redis.lrange("seen:#{key}", 0, -1).map(&:to_i).uniq } }
    eventually(timeout: 20) { first_seen.call.all? { |numbers| numbers.size == 60 } }
    expect(first_seen.call).to all(eq((0...60).to_a))
    eventually { lanes_of(workers.last) == 8 }
    expect(redis.keys("by:*").map { |key| redis.scard(key) }.sum).to be_between(8, 12)
  end

  it "are read only by the current owner of the partition" do
    kept = got
    first = in_partitions(lease: 0.6) { |event| kept << event.data }
    readers = -> { redis.call("CLIENT", "LIST").lines.grep(/cmd=xread /).size }
    eventually { readers.call == 4 }
    second = in_partitions(lease: 0.6) { |event| kept << event.data }
    eventually { [first, second].map { |one| one.stats[:lanes] } == [2, 2] && readers.call == 4 }
    keys.each { |key| publish_to(data: 1, key: key) }
    next_ones(4)
    second.stop
    eventually { first.stats[:lanes] == 4 && readers.call == 4 }
    expect(got).to be_empty
  end

  it "become dead letters that name their streams, and can be tried again" do
    kept = got
    failing = true
    subscription = in_partitions(attempts: 1, retry_on: nil) do |event|
      kept << [event.source, event.data]
      raise "bad" if event.data.zero? && failing
    end
    keys.first(2).each { |key| 2.times { |data| publish_to(data: data, key: key) } }
    expect(next_ones(4)).to match_array(%w[orders:0 orders:1].product([0, 1]))
    letters = eventually { subscription.dead_letters.to_a.then { |all| all if all.size == 2 } }
    expect(letters.map(&:source)).to match_array(%w[orders:0 orders:1])
    expect(letters.map { |letter| [letter.data, stream_of(letter.key) == letter.source] }).to all(eq([0, true]))
    expect(letters.first.fields.keys).to match_array(%w[key data id])
    failing = false
    expect(letters.map(&:retry)).to all(be(true))
    expect(next_ones(2)).to match_array([["orders:0", 0], ["orders:1", 0]])
    eventually { subscription.dead_letters.empty? }
  end

  it "wait behind a dead letter that holds their key, until it is retried or discarded" do
    kept = got
    subscription = in_partitions(order: { then: :hold_key }, attempts: 1, retry_on: nil) do |event|
      kept << [event.key, event.data]
      raise "bad" if event.data.zero?
    end
    keys.each { |key| 2.times { |data| publish_to(data: data, key: key) } }
    expect(next_ones(4)).to match_array(keys.map { |key| [key, 0] })
    eventually { subscription.dead_letters.size == 4 }
    letter = subscription.dead_letters.find { |one| one.key == keys.last }
    expect(letter.discard).to be(true)
    expect(next_of(got)).to eq([keys.last, 1])
    expect(got).to be_empty
  end

  it "begin at the end of each partition, and those of each are moved" do
    kept = got
    keys.each { |key| publish_to(data: "old", key: key) }
    subscription = in_partitions(from: :new, lease: 0.3) { |event| kept << event.data }
    keys.each { |key| publish_to(data: "new", key: key) }
    expect(next_ones(4)).to all(eq("new"))
    last = redis.keys("orders:?").map { |stream| redis.xrevrange(stream, "+", "-", count: 1).first.first }.max
    eventually { subscription.lag.zero? && subscription.checkpoint.position == last }
    subscription.checkpoint.seek(:beginning)
    expect(next_ones(8)).to match_array((["old"] * 4) + (["new"] * 4))
    eventually { subscription.lag.zero? }
    subscription.pause
    keys.each { |key| 3.times { publish_to(data: "more", key: key) } }
    expect(subscription.lag).to eq(12)
    # Each partition moves to its own end. The end of the first one is the lowest.
    subscription.checkpoint.seek(:new)
    eventually { subscription.lag.zero? && subscription.stats[:held].zero? }
    subscription.resume
    keys.each { |key| publish_to(data: "last", key: key) }
    expect(next_ones(4)).to all(eq("last"))
  end

  it "that are missing from one partition are reported for that one alone" do
    words = { lease: 0.3, on_loss: losses.method(:<<) }
    kept = got
    in_partitions(**words) { |event| kept << event.data }
    keys.each { |key| publish_to(data: 0, key: key) }
    next_ones(4)
    stop_consumers
    10.times { |data| publish_to(data: data, key: keys[1]) }
    redis.xtrim("orders:1", 3)
    in_partitions(**words) { |event| kept << event.data }
    expect(next_ones(3)).to eq([7, 8, 9])
    expect(next_of(losses)).to have_attributes(source: "orders:1", cause: :trimmed, at_most: 7, exact?: true)
    redis.del("orders:2")
    publish_to(data: "anew", key: keys[2])
    expect(next_of(got)).to eq("anew")
    expect(next_of(losses)).to have_attributes(source: "orders:2", cause: :flushed)
  end

  it "that are missing with everything else in Redis are reported for each partition" do
    kept = got
    in_partitions(lease: 0.6, on_loss: losses.method(:<<)) { |event| kept << event.data }
    2.times do |data|
      keys.each { |key| publish_to(data: data, key: key) }
      expect(next_ones(4)).to all(eq(data))
      redis.flushall
      told = Array.new(4) { next_of(losses) }
      expect(told.map(&:source)).to match_array((0..3).map { |number| "orders:#{number}" })
      expect(told.map(&:cause)).to all(be(:flushed))
    end
    expect(losses).to be_empty
  end

  it "show their position in a group of each partition, so that trimming keeps what is left" do
    gate = Queue.new
    in_partitions { |_| gate.pop }
    120.times { |data| publish_to(data: data, key: keys[1], maxlen: 200, unread: :keep) }
    marker = -> { redis.xinfo(:groups, "orders:1").find { |group| group["name"] == "billing:lanes" } }
    eventually { marker.call }
    300.times { |data| publish_to(data: data, key: keys[1], maxlen: 200, unread: :keep) }
    expect(redis.xlen("orders:1")).to eq(420)
    420.times { gate << 1 }
    last = redis.xrevrange("orders:1", "+", "-", count: 1).first.first
    eventually { marker.call["last-delivered-id"] >= last }
  end

  it "refuse another number of partitions, and lanes instead of partitions" do
    in_partitions { |event| event }
    expect { in_partitions(8) { |event| event } }
      .to raise_error(RedisIPC::ConfigurationError, /has 4 partitions in Redis, and 8 partitions here.*partitions: 4,/)
    expect { consume(order: [:key, { lanes: 4 }]) { |event| event } }
      .to raise_error(RedisIPC::ConfigurationError, /has 4 partitions in Redis, and 4 lanes here/)
  end

  it "of a publisher with another number of partitions are handled, counted and reported" do
    kept = got
    subscription = in_partitions { |event| kept << event.data }
    key = (0..).lazy.map(&:to_s).find { |one| RedisIPC::Events.partition(one, 3) != RedisIPC::Events.partition(one, 4) }
    2.times { |data| publish_to(3, data: data, key: key) }
    expect(next_ones(2)).to eq([0, 1])
    told = next_of(errors)
    expect(told).to be_a(RedisIPC::ConfigurationError).and have_attributes(message: /another one of the 4 partitions/)
    expect(told.stream).to eq("orders:#{RedisIPC::Events.partition(key, 3)}")
    expect(errors).to be_empty
    expect(subscription.stats[:misplaced]).to eq(2)
  end

  it "beyond those of a consumer are reported when it starts" do
    # Every key that is in orders:3 of 16 partitions is also there with 4, so no event shows the difference.
    16.times { |key| publish_to(16, data: 1, key: key) }
    in_partitions { |event| event }
    expect(next_of(errors).message).to include('the stream "orders:4" is there, and this consumer has 4 partitions')
    expect(errors).to be_empty
  end

  it "can be paused by key" do
    kept = got
    subscription = in_partitions { |event| kept << [event.key, event.data] }
    subscription.pause(key: keys.first)
    keys.first(2).each { |key| publish_to(data: 1, key: key) }
    expect(next_of(got)).to eq([keys[1], 1])
    subscription.resume(key: keys.first)
    expect(next_of(got)).to eq([keys.first, 1])
  end

  it "are replayed by a group of its own, which leaves nothing behind" do
    kept = got
    consumer = consumer_class { order :key, partitions: 4 }
    consumer.define_method(:call) { |event| kept << [event.source, event.data] }
    keys.each { |key| publish_to(data: 1, key: key) }
    replay = RedisIPC::Events.replay(consumer, from: :beginning, group: "again")
    expect(replay.wait(10)).to be(true)
    expect(next_ones(4).map(&:first)).to match_array((0..3).map { |number| "orders:#{number}" })
    expect(redis.exists("orders:events:again")).to eq(0)
    expect((0..3).flat_map { |number| redis.xinfo(:groups, "orders:#{number}") }).to be_empty
  end

  it "are refused if publisher or consumer declare something impossible" do
    expect { publish_to(0, data: 1) }.to raise_error(ArgumentError, /partitions must be a whole number from 1 to 256/)
    expect { RedisIPC::Events.partition(7, 1.5) }.to raise_error(ArgumentError, /partitions must be/)
  end

  it "are handled in worker processes, which know the partition" do
    in_partitions(concurrency: { processes: 1 }) do |event|
      Redis.new(path: RedisServer.shared.path).rpush("seen", "#{event.source} #{event.metadata[:partition]}")
    end
    publish_to(data: 1, key: keys[2])
    expect(eventually { redis.lindex("seen", 0) }).to eq("orders:2 2")
  end

  it "are in several slots of a cluster, each read at its node" do
    cluster = RedisCluster.new(masters: 3, replicas: 0)
    kept = got
    options = { redis_options: cluster.options }
    subscription = in_partitions(8, **options) { |event| kept << [event.key, event.data] }
    events = Array.new(10) { |data| Array.new(20) { |key| { data: data, key: key } } }.flatten
    RedisIPC::Events.publish_all("orders", events, partitions: 8, **options)
    handled = next_ones(200).group_by(&:first)
    expect(handled.transform_values { |list| list.map(&:last) }.values).to all(eq((0...10).to_a))
    nodes = (0...8).map { |number| cluster.master_of("orders:#{number}").port }.uniq
    expect(nodes.size).to eq(3)
    eventually { subscription.lag.zero? }
  ensure
    stop_consumers
    cluster&.stop
  end
end

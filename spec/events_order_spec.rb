# frozen_string_literal: true

# Events in order, by key or of a whole source: in one process, and among real processes that are killed and frozen.
RSpec.describe "events in order" do
  let(:got) { Queue.new }

  # Starts a process that consumes "orders" by key. Its handler appends what it handles to the list "seen:KEY".
  def ordering(handler = "", options: "", order: ":key", lease: 0.6)
    ruby(<<~RUBY).tap { |process| expect(process.line).to eq("ready") }
      require "logger"
      require "redis"
      REDIS = Redis.new(url: ENV.fetch("REDIS_URL"))
      def say(*words) = $stdout.write(words.join(" ") + "\n")
      RedisIPC.configure do |config|
        config.redis_options = { url: ENV.fetch("REDIS_URL") }
        config.logger = Logger.new(IO::NULL)
      end
      subscription = RedisIPC::Events.consume(stream: "orders", group: "billing", from: :beginning, order: #{order},
                                              lease: #{lease}, #{options}) do |event|
        #{handler}
        REDIS.rpush("seen:\#{event.key}", event.data)
        REDIS.rpush("by:\#{event.key}", Process.pid)
      end
      say("ready")
      loop do
        case $stdin.gets&.chomp
        when "lanes" then say(subscription.stats[:lanes])
        else break
        end
      end
      subscription.stop
      say("stopped")
    RUBY
  end

  # Publishes `count` events for each key, with the keys mixed.
  def publish_keys(count, keys: 20)
    events = (0...count).flat_map { |number| (0...keys).map { |key| { data: number, key: key } } }
    RedisIPC::Events.publish_all("orders", events, redis_options: redis_options)
  end

  def seen(key)
    redis.lrange("seen:#{key}", 0, -1).map(&:to_i)
  end

  # Returns the events of each key in the order in which they were first handled, without repetitions.
  def first_seen(keys: 20)
    (0...keys).map { |key| seen(key).uniq }
  end

  def died?(process)
    process.wait(timeout: 1.5)
  rescue Timeout::Error
    false
  end

  def lanes_of(process)
    process.puts("lanes")
    process.line.to_i
  end

  # Consumes by key in this process.
  def in_order(order: :key, **words, &block)
    consume(order: order, **words, &block)
  end

  it "are handled one after the other for each key, by several processes" do
    workers = Array.new(3) { ordering(options: "concurrency: { threads: 3 }") }
    eventually { workers.map { |worker| lanes_of(worker) }.sort == [21, 21, 22] }
    publish_keys(30)
    eventually { first_seen.all? { |numbers| numbers.size == 30 } }
    expect((0...20).map { |key| seen(key) }).to all(eq((0...30).to_a))
    expect((0...20).flat_map { |key| redis.lrange("by:#{key}", 0, -1) }.uniq.size).to be > 1
  end

  it "are rebalanced within two leases when a process joins or leaves" do
    lease = 1.5
    first, second = Array.new(2) do |number|
      in_order(lease: lease) { |event| event }.tap do |one|
        eventually(timeout: 2 * lease) { one.stats[:lanes] == [64, 32][number] }
      end
    end
    eventually(timeout: 2 * lease) { first.stats[:lanes] == 32 }
    first.stop
    eventually(timeout: 2 * lease) { second.stats[:lanes] == 64 }
  end

  it "are handled by those that are left when a process is killed, and nothing is missing or out of order" do
    workers = Array.new(2) { ordering("sleep(0.001)") }
    eventually { workers.map { |worker| lanes_of(worker) } == [32, 32] }
    publish_keys(60)
    eventually { redis.keys("seen:*").size > 10 }
    workers.first.kill
    eventually(timeout: 20) { first_seen.all? { |numbers| numbers.size == 60 } }
    expect(first_seen).to all(eq((0...60).to_a))
    eventually(timeout: 20) { lanes_of(workers.last) == 64 }
  end

  it "stay in order while a process is frozen for longer than its lease, and its late results are reported" do
    frozen = ordering("say(event.data); REDIS.blpop(\"gate\", timeout: 30) if event.data.zero?",
                      options: "concurrency: { threads: 1 }")
    publish_keys(5, keys: 1)
    expect(frozen.line).to eq("0")
    frozen.kill(:STOP)
    other = ordering
    eventually(timeout: 20) { seen(0) == [0, 1, 2, 3, 4] }
    frozen.kill(:CONT)
    redis.rpush("gate", "go on")
    eventually { seen(0).size == 6 }
    expect(seen(0)).to eq([0, 1, 2, 3, 4, 0])
    publish_keys(1, keys: 40)
    eventually { (0...40).all? { |key| seen(key).size == (key.zero? ? 7 : 1) } }
    expect(lanes_of(other)).to be_between(32, 64)
  end

  it "are handed over at once by a process that stops" do
    first = ordering(lease: 30)
    publish_keys(3, keys: 5)
    eventually { first_seen(keys: 5).all? { |numbers| numbers.size == 3 } }
    first.puts("stop")
    expect(first.line).to eq("stopped")
    second = ordering(lease: 30)
    expect(lanes_of(second)).to eq(64)
    publish_keys(1, keys: 5)
    eventually { (0...5).all? { |key| seen(key) == [0, 1, 2, 0] } }
  end

  it "wait for one of their key that failed, while the others go on" do
    kept = got
    in_order(retry_on: { IOError => { wait: 0.2 } }) do |event|
      kept << [event.key, event.data, event.attempt]
      raise IOError, "not yet" if event.key == "1" && event.data.zero? && event.attempt < 3
    end
    publish_keys(2, keys: 3)
    all = next_ones(8)
    expect(all.select { |key, *| key == "1" }).to eq([["1", 0, 1], ["1", 0, 2], ["1", 0, 3], ["1", 1, 1]])
    others = all.reject { |key, *| key == "1" }
    expect(others).to match_array([["0", 0, 1], ["0", 1, 1], ["2", 0, 1], ["2", 1, 1]])
    expect(all.index(["2", 1, 1])).to be < all.index(["1", 0, 2])
  end

  it "go on after a dead letter, which can be tried again" do
    kept = got
    failing = true
    subscription = in_order(attempts: 1, retry_on: nil) do |event|
      kept << event.data
      raise "bad" if event.data.zero? && failing
    end
    publish_keys(2, keys: 1)
    expect(next_ones(2)).to eq([0, 1])
    letter = eventually { subscription.dead_letters.first }
    expect(letter).to have_attributes(data: 0, key: "0", attempts: 1)
    failing = false
    expect(letter.retry).to be(true)
    expect(next_of(got)).to eq(0)
    eventually { subscription.dead_letters.empty? }
    expect(letter.retry).to be(false)
  end

  it "wait behind a dead letter that holds its key, until it is retried or discarded" do
    kept = got
    failing = true
    options = { order: [:key, { then: :hold_key }], attempts: 1, retry_on: nil, lease: 0.3 }
    handler = lambda do |event|
      kept << [event.key, event.data]
      raise "bad" if event.data.zero? && failing
    end
    subscription = in_order(**options, &handler)
    publish_keys(2, keys: 2)
    expect(next_ones(2)).to match_array([["0", 0], ["1", 0]])
    eventually { subscription.dead_letters.size == 2 }
    # The dead letter holds the key even after the process that gave up on the event has stopped.
    stop_consumers
    subscription = in_order(**options, &handler)
    RedisIPC::Events.publish("orders", 9, key: 5, redis_options: redis_options)
    expect(next_of(got)).to eq(["5", 9])
    failing = false
    letters = subscription.dead_letters.to_h { |letter| [letter.key, letter] }
    expect(letters.fetch("0").retry).to be(true)
    expect(next_ones(2)).to eq([["0", 0], ["0", 1]])
    expect(letters.fetch("1").discard).to be(true)
    expect(next_of(got)).to eq(["1", 1])
    eventually { subscription.dead_letters.empty? }
  end

  it "keep their attempts when the consumer is started again" do
    kept = got
    in_order(attempts: 3, retry_on: { IOError => { wait: 60 } }) do |event|
      kept << event.attempt
      raise IOError
    end
    publish_keys(1, keys: 1)
    expect(next_of(got)).to eq(1)
    eventually { consumers.first.stats[:resting] == 1 }
    stop_consumers
    in_order { |event| kept << [event.attempt, event.redelivered?] }
    expect(next_of(got)).to eq([2, true])
  end

  it "become a dead letter if they kill each process that handles them, and the others are handled" do
    published = publish_keys(3, keys: 20)
    runs = 0
    loop do
      worker = ordering("exit!(7) if event.data == 1 && event.key == '1'",
                        options: "attempts: 2, concurrency: { threads: 3 }")
      runs += 1
      break if !died?(worker) || runs > 12
    end
    expect(runs).to be_between(3, 8)
    eventually(timeout: 20) { seen(1).uniq == [0, 2] }
    # Events that other lanes tried at the same time are not blamed for it.
    eventually { first_seen == Array.new(20) { |key| key == 1 ? [0, 2] : [0, 1, 2] } }
    letters = redis.xrange("orders:dead:billing").map(&:last)
    expect(letters).to match([include("dead_id" => published[21], "dead_reason" => /each process .* died or hung/)])
  end

  it "are not tried again if the dead letter has only a part of them" do
    kept = got
    subscription = in_order(max_event_size: 10_000) { |event| kept << event.data.size }
    RedisIPC::Events.publish("orders", "a" * 100_000, key: 1, redis_options: redis_options)
    letter = eventually { subscription.dead_letters.first }
    expect { letter.retry }.to raise_error(RedisIPC::MalformedEntryError, /only a part/)
    publish_keys(1, keys: 1)
    eventually { subscription.lag.zero? }
    expect([subscription.dead_letters.map(&:id), subscription.stats[:dead_lettered]]).to eq([[letter.id], 1])
  end

  it "may outlast the stop of their consumer, which counts as a try" do
    kept = got
    gate = Queue.new
    first = in_order do |event|
      kept << [event.attempt, event.redelivered?]
      gate.pop
    end
    publish_keys(1, keys: 1)
    expect(next_of(kept)).to eq([1, false])
    first.stop(timeout: 0.1)
    in_order { |event| kept << [event.attempt, event.redelivered?] }
    expect(next_of(kept)).to eq([2, true])
    gate.close
  end

  it "can be paused by key" do
    kept = got
    subscription = in_order { |event| kept << [event.key, event.data] }
    subscription.pause(key: 1)
    publish_keys(2, keys: 2)
    expect(next_ones(2)).to eq([["0", 0], ["0", 1]])
    subscription.resume(key: "1")
    expect(next_ones(2)).to eq([["1", 0], ["1", 1]])
    %i[none source].each do |order|
      expect { consume(group: order, order: order) { |event| event }.pause(key: 1) }
        .to raise_error(RedisIPC::ConfigurationError, /no order by key/), order.to_s
    end
  end

  it "are handled in batches, in which later ones wait for one of their key that failed" do
    kept = got
    # The first error splits a batch in two, the second one does not.
    subscription = in_order(batch: { size: 100, within: 0.1 }, retry_on: { IOError => { wait: 0.05 } }) do |events|
      kept << events.map { |event| [event.key, event.data] }
      bad = events.find { |event| event.key == "0" && event.data == 1 }
      raise "bad" if bad && events.size > 1
      raise IOError if bad && bad.attempt < 3
    end
    publish_keys(4, keys: 2)
    eventually { subscription.stats[:done] == 8 }
    handled = Array.new(got.size) { got.pop }
    expect(handled.flatten(1)).to include(*%w[0 1].product([0, 1, 2, 3]))
    expect(handled.flat_map { |batch| batch.group_by(&:first).values }).to all(satisfy { |ones| ones == ones.sort })
    last = ->(event) { handled.rindex { |batch| batch.include?(event) } }
    expect(last.call(["0", 1])).to be < last.call(["0", 2])
    expect(last.call(["0", 2])).to be <= last.call(["0", 3])
  end

  it "are tried again in order if a whole batch fails" do
    kept = got
    subscription = in_order(batch: { size: 100, within: 0.1 }, attempts: 100, concurrency: { threads: 1 },
                            retry_on: { IOError => { wait: 0.05 } }) do |events|
      raise IOError if events.any? { |event| event.attempt < 3 }

      events.each { |event| kept << [event.key, event.data] }
    end
    publish_keys(4, keys: 2)
    eventually { subscription.stats[:done] == 8 }
    expect(next_ones(8).group_by(&:first).transform_values { |of_key| of_key.map(&:last) })
      .to eq("0" => [0, 1, 2, 3], "1" => [0, 1, 2, 3])
  end

  it "of a whole source are handled one after the other, by one process at a time" do
    workers = Array.new(2) { ordering(order: ":source") }
    publish_keys(50, keys: 4)
    eventually { first_seen(keys: 4).all? { |numbers| numbers.size == 50 } }
    expect(workers.map { |worker| lanes_of(worker) }).to match_array([0, 1])
    expect((0...4).flat_map { |key| redis.lrange("by:#{key}", 0, -1) }.uniq.size).to eq(1)
  end

  it "have the key that the class names: a field, or a part of the data" do
    kept = got
    in_order(order: [:key, { by: "order_id" }]) { |event| kept << [event.key, event.fence.class] }
    publish({ order_id: 7 })
    redis.xadd("orders", { "order_id" => "eight", "total" => "3" })
    publish({ other: 7 })
    expect(next_ones(3)).to match_array([["7", Integer], ["eight", Integer], [nil, Integer]])
  end

  it "refuse another number of lanes than the others have" do
    in_order { |event| event }
    expect { in_order(order: [:key, { lanes: 8 }]) { |event| event } }
      .to raise_error(RedisIPC::ConfigurationError, /has 64 lanes in Redis, and 8 lanes here.*Start it with lanes: 64,/)
  end

  it "refuse to have no order under the name of a group that has one, and the other way round" do
    position = publish(1, key: 7)
    ordered = in_order { |event| event }
    eventually { ordered.stats[:done] == 1 && redis.xinfo(:groups, "orders").any? }
    expect { consume { |event| event } }
      .to raise_error(RedisIPC::ConfigurationError, /consumed in an order, .*delete the key orders:events:billing and/)
    expect(redis.xinfo(:groups, "orders").map { |group| group["name"] }).to eq(["billing:lanes"])
    consume(group: "other") { |event| event }.then { |other| eventually { other.stats[:acknowledged] == 1 } }
    expect { in_order(group: "other") { |event| event } }
      .to raise_error(RedisIPC::ConfigurationError,
                      /consumed without an order, up to #{position}: .* start with from: "#{position}"/)
    expect(redis.exists?("orders:events:other")).to be(false)
  end

  it "show their position in a consumer group of Redis, so that trimming keeps what is left" do
    kept = got
    in_order { |event| kept << event.data }
    publish_keys(3, keys: 10)
    next_ones(30)
    shown = -> { redis.xinfo(:groups, "orders").find { |group| group["name"] == "billing:lanes" } }
    eventually { shown.call&.fetch("lag") == 0 }
    expect(shown.call).to include("last-delivered-id" => redis.xrevrange("orders").first.first, "entries-read" => 30)
  end

  it "do not begin again in a process whose handler still runs them when the consumer is moved" do
    kept = got
    gate = Queue.new
    moved = Queue.new
    subscription = in_order(lease: 0.3) do |event|
      next moved << event.data if event.key == "7"

      kept << [:begun, event.data]
      gate.pop if event.data.zero?
      kept << [:ended, event.data]
    end
    publish_keys(2, keys: 1)
    expect(next_of(got)).to eq([:begun, 0])
    publish(9, key: 7)
    expect(next_of(moved)).to eq(9)
    subscription.checkpoint.seek(:beginning)
    expect(next_of(moved)).to eq(9)
    2.times { gate << 1 }
    expect(next_ones(5)).to eq([[:ended, 0], [:begun, 0], [:ended, 0], [:begun, 1], [:ended, 1]])
  end

  it "are not repeated after a restart, and count in lag until they are done" do
    kept = got
    subscription = in_order { |event| kept << event.data }
    publish_keys(3, keys: 10)
    next_ones(30)
    eventually { subscription.lag.zero? }
    stop_consumers
    in_order { |event| kept << event.data }
    publish("new", key: 1)
    expect(next_of(got)).to eq("new")
  end

  describe "that are missing" do
    let(:losses) { Queue.new }

    def counting(**words)
      kept = [got, losses]
      in_order(on_loss: ->(loss) { kept.last << loss }, **words) { |event| kept.first << event.data }
    end

    it "because the stream was trimmed are counted exactly" do
      counting
      publish_keys(5, keys: 1)
      expect(next_ones(5)).to eq([0, 1, 2, 3, 4])
      stop_consumers
      publish_keys(20, keys: 1)
      redis.xtrim("orders", 7)
      counting
      expect(next_ones(7)).to eq((13..19).to_a)
      loss = next_of(losses)
      expect(loss).to have_attributes(source: "orders", cause: :trimmed, at_most: 13, exact?: true)
      expect(loss.since).to be <= loss.until
      expect(consumers.last.stats[:losses]).to eq(1)
    end

    it "while the lanes were full to different positions are reported once" do
      subscription = counting(prefetch: 1)
      subscription.pause
      # A lane holds at least 16 events. Each of the 20 keys has a lane of its own.
      publish_keys(100)
      eventually { subscription.stats[:held] == 16 * 20 }
      redis.xtrim("orders", 20)
      subscription.resume
      loss = next_of(losses)
      eventually { subscription.stats[:held].zero? && subscription.lag.zero? }
      expect(losses).to be_empty
      expect(loss).to have_attributes(cause: :trimmed, exact?: false)
      expect(loss.at_most).to be_between(2_000 - subscription.stats[:done], 2_000 - 20)
    end

    it "because the stream was deleted are reported" do
      counting(lease: 0.3)
      publish_keys(2, keys: 1)
      next_ones(2)
      redis.del("orders")
      expect(next_of(losses)).to have_attributes(cause: :flushed, at_most: nil)
      publish_keys(1, keys: 1)
      expect(next_of(got)).to eq(0)
    end

    it "with everything else in Redis are reported, and the consumer goes on" do
      counting(lease: 0.3)
      publish_keys(2, keys: 1)
      next_ones(2)
      redis.flushall
      expect(next_of(losses)).to have_attributes(cause: :flushed)
      publish_keys(3, keys: 1)
      # What is handled before the hash of the consumer exists again may run again.
      expect(next_ones(3).uniq).to eq([0, 1, 2])
    end

    it "again and again, with new events at once each time, are reported each time" do
      subscription = counting(lease: 0.3)
      publish_keys(2, keys: 1)
      next_ones(2)
      2.times do |time|
        numbers = Array.new(time + 5) { |number| (time * 10) + number }
        # Redis forgets the last id, too. In the same millisecond it would give the same ids again.
        later = Integer(redis.xinfo(:stream, "orders")["last-generated-id"][/\d+/]) + 1
        redis.multi do |all|
          all.flushall
          numbers.each { |number| all.xadd("orders", { "key" => "1", "data" => number }, id: "#{later}-*") }
        end
        expect(next_of(losses)).to have_attributes(cause: :flushed)
        # The consumer begins anew.
        eventually { subscription.lag&.zero? }
      end
    end

    it "because the server came back with an older state are reported" do
      server = RedisServer.new(save: "", appendonly: "no")
      redis = server.client
      kept = [got, losses]
      options = { redis_options: { url: server.url } }
      5.times { |number| RedisIPC::Events.publish("orders", number, key: 1, **options) }
      redis.save
      subscription = RedisIPC::Events.consume(stream: "orders", group: "billing", order: :key, from: :beginning,
                                              # Who restarts the server must be quicker than that.
                                              lease: 5, logger: Consumers.silent,
                                              on_loss: ->(loss) { kept.last << loss }, **options) do |event|
        kept.first << event.data
      end
      consumers << subscription
      expect(next_ones(5)).to eq([0, 1, 2, 3, 4])
      3.times { |number| RedisIPC::Events.publish("orders", 10 + number, key: 1, **options) }
      expect(next_ones(3)).to eq([10, 11, 12])
      server.kill
      server.start
      expect(next_of(losses)).to have_attributes(cause: :rolled_back, at_most: 3)
      server.client.xadd("orders", { "key" => "1", "data" => "20" })
      expect(next_of(got)).to eq(20)
    ensure
      stop_consumers
      server&.stop
    end

    it "are logged if there is no on_loss" do
      log = StringIO.new
      in_order(logger: Logger.new(log), lease: 0.3) { |event| event }
      publish_keys(1, keys: 1)
      eventually { consumers.last.stats[:done] == 1 }
      redis.del("orders")
      eventually { log.string.include?("an unknown number of events of orders are missing") }
    end
  end
end

# frozen_string_literal: true

# What other processes of a group take over from one, and what they leave alone. Each example corresponds to a bug
# report against another consumer of Redis Streams.
RSpec.describe "events that a process holds" do
  let(:got) { Queue.new }
  let(:gate) { Queue.new }

  after { gate.close }

  # Kills a process that has begun this many events and finished none of them.
  def killed_with(count)
    process = ruby(<<~RUBY)
      require "logger"
      RedisIPC.configure { |config| config.redis_options = { url: ENV.fetch("REDIS_URL") } }
      RedisIPC::Events.consume(stream: "orders", group: "billing", from: :beginning, logger: Logger.new(IO::NULL),
                               lease: 0.4, concurrency: { threads: #{count} }) do |event|
        $stdout.write("\#{event.data}\\n")
        sleep
      end
      sleep
    RUBY
    begun = Array.new(count) { process.line.to_i }
    process.kill
    process.wait
    begun
  end

  # Consumes in this process. The handler waits for the gate with the events that `holds` selects.
  def holding(holds = ->(_data) { false }, **words)
    kept = got
    open = gate
    consume(lease: 0.4, **words) do |event|
      kept << [event.data, event.attempt]
      open.pop if holds.call(event.data)
    end
  end

  def pending
    redis.xpending("orders", "billing")["size"]
  end

  # Returns how often Redis was asked for pending entries.
  def looks
    redis.info(:commandstats).dig("xpending", "calls").to_i
  end

  it "and then dies, are taken over by a process that is idle, not by one that is busy" do
    busy = holding(->(data) { data == "stuck" }, concurrency: { threads: 1 })
    publish("stuck")
    expect(next_of(got)).to eq(["stuck", 1])
    publish_all(0...8)
    killed_with(8)
    idle = holding(concurrency: { threads: 2 })
    expect(next_ones(8)).to match_array((0...8).map { |number| [number, 2] })
    eventually { pending == 1 }
    expect([busy, idle].map { |one| one.stats.values_at(:taken, :redelivered) }).to eq([[1, 0], [8, 8]])
  end

  it "and then dies, are looked for less often by one that is busy, and taken once it is not" do
    holding(->(data) { data == "stuck" }, concurrency: { threads: 1 })
    publish("stuck")
    expect(next_of(got)).to eq(["stuck", 1])
    publish_all(0...8)
    killed_with(8)
    before = looks
    began = now
    eventually(every: 0.02) { looks >= before + 20 }
    # A check comes twice in each third of a lease.
    expect(now - began).to be > 1
    expect(got).to be_empty
    gate << true
    expect(next_ones(8)).to match_array((0...8).map { |number| [number, 2] })
    eventually { pending.zero? }
  end

  it "and then dies, do not stay pending if they were deleted" do
    ids = Array.new(3) { |number| publish(number) }
    killed_with(3)
    redis.xdel("orders", *ids.first(2))
    consumer = holding
    expect(next_of(got)).to eq([2, 2])
    eventually { pending.zero? }
    expect(consumer.stats).to include(deleted: 2, acknowledged: 1)
    expect(errors).to be_empty
  end

  it "are finished even if they were deleted while they ran" do
    consumer = holding(->(_data) { true })
    position = publish(1)
    expect(next_of(got)).to eq([1, 1])
    redis.xdel("orders", position)
    gate << true
    eventually { pending.zero? && consumer.stats[:acknowledged] == 1 }
    expect(consumer.dead_letters).to be_empty
    expect(errors).to be_empty
  end

  it "run once, although they wait for longer than a lease behind one that runs" do
    holding(->(data) { data == 300 }, concurrency: { threads: 1 })
    publish_all(0..600)
    handled = next_ones(301)
    other = holding(concurrency: { threads: 1 })
    began = now
    publish_all(601..700)
    handled += next_ones(300)
    eventually(every: 0.05) { now > began + 1.2 }
    gate << true
    handled += next_ones(100)
    eventually { pending.zero? }
    expect(handled).to match_array((0..700).map { |number| [number, 1] })
    expect(other.stats).to include(dead_lettered: 0)
    expect(got).to be_empty
  end

  describe "with an order" do
    # Computes the lane as docs/events_protocol.md defines it.
    def lane(key, lanes)
      key.to_s.each_byte.reduce(0) do |crc, byte|
        (0...8).reduce(crc ^ (byte << 8)) { |sum, _| ((sum << 1) ^ (sum[15] * 0x1021)) & 0xffff }
      end % lanes
    end

    it "are bounded: a stuck key stops the reading of its lane, and of no other lane" do
      consumer = holding(->(data) { data == [7, 0] }, order: [:key, { lanes: 4 }], prefetch: 40)
      events = (0...50).flat_map { |number| (0...16).map { |key| { data: [key, number], key: key } } }
      RedisIPC::Events.publish_all("orders", events, redis_options: redis_options)
      beside, others = (0...16).partition { |key| lane(key, 4) == lane(7, 4) }
      handled = []
      handled << next_of(got).first until handled.count { |key, _| others.include?(key) } == others.size * 50
      expect(consumer.stats[:held]).to be_between(1, 40)
      expect(handled.count { |key, _| beside.include?(key) }).to be < beside.size * 50
      gate << true
      handled << next_of(got).first until handled.size == events.size
      expect(handled.group_by(&:first).transform_values { |of_key| of_key.map(&:last) })
        .to eq((0...16).to_h { |key| [key, (0...50).to_a] })
    end
  end
end

# frozen_string_literal: true

RSpec.describe "events once more" do
  let(:got) { Queue.new }

  def groups
    redis.xinfo(:groups, "orders").map { |group| group["name"] }
  end

  def replay(consumer, from: :beginning, group: "shadow", **options)
    RedisIPC::Events.replay(consumer, from: from, group: group, **options).tap { |started| consumers << started }
  end

  # Takes everything that is in the queue.
  def all_of(queue)
    Array.new(queue.size) { queue.pop }
  end

  describe "by a replay" do
    it "are those that the stream has at the start, while the class goes on" do
      kept = got
      billing = consumer_class { define_method(:call) { |event| kept << [event.source, event.data, self.class] } }
      start(billing)
      5.times { |number| publish(number) }
      originals = Array.new(5) { next_of(got) }
      again = replay(billing)
      expect(again.wait(10)).to be(true)
      copies = all_of(got)
      expect(copies.map { |copy| copy[1] }).to match_array(0..4)
      expect(copies.map(&:last).uniq).not_to include(billing)
      expect(originals.map(&:last).uniq).to eq([billing])
      expect([again.running?, again.finished?, groups]).to eq([false, true, ["billing"]])
      publish(5)
      expect(next_of(got)[1]).to eq(5)
    end

    it "end where the stream ended at the start, one by one and in batches" do
      kept = got
      publisher = method(:publish)
      add = ->(_) { publisher.call(:new) }
      single = consumer_class { on("a") { |event| (kept << event.data) && add.call(event) } }
      batched = consumer_class do
        batch size: 10, within: 0.05
        define_method(:call) { |events| events.each { |event| (kept << event.data) && add.call(event) } }
      end
      3.times { |number| publish(number, type: "a") }
      [single, batched].each_with_index do |consumer, index|
        expect(replay(consumer, group: "shadow #{index}").wait(10)).to be(true)
      end
      expect(all_of(got).grep(Integer)).to match_array([0, 1, 2] * 2)
      expect(groups).to eq([])
    end

    it "wait for retries, and count dead letters as handled" do
      tries = Queue.new
      failing = consumer_class { define_method(:call) { |event| (tries << event.data) && raise("no") } }
      publish(1)
      again = replay(failing, attempts: 3)
      expect(again.wait(10)).to be(true)
      expect(tries.size).to eq(3)
      expect(redis.xlen("orders:dead:shadow")).to eq(1)
    end

    it "begin at from:, and go on for ever with until: :never" do
      kept = got
      billing = consumer_class { define_method(:call) { |event| kept << event.data } }
      positions = Array.new(3) { |number| publish(number) }
      again = replay(billing, from: positions.first, until: :never)
      expect(Array.new(2) { next_of(got) }).to contain_exactly(1, 2)
      publish(3)
      expect(next_of(got)).to eq(3)
      expect([again.wait(0), again.running?, again.lag, again.inspect])
        .to eq([false, true, 0, "#<RedisIPC::Events::Replay orders/shadow running>"])
      expect(again.stop.wait).to be(false)
      expect(groups).to eq(["shadow"])
    end

    it "continue in an existing group, and keep it" do
      kept = got
      billing = consumer_class { define_method(:call) { |event| kept << event.data } }
      positions = Array.new(3) { |number| publish(number) }
      redis.xgroup(:create, "orders", "shadow", positions[1])
      expect(replay(billing).wait(10)).to be(true)
      expect([all_of(got), groups]).to eq([[2], ["shadow"]])
    end

    it "keep the order of the class, and leave nothing behind" do
      kept = got
      ordered = consumer_class do
        order :key, lanes: 4
        define_method(:call) { |event| kept << [event.key, event.data] }
      end
      30.times { |number| publish(number, key: number % 3) }
      expect(replay(ordered, lease: 0.5).wait(20)).to be(true)
      seen = all_of(got)
      expect(seen.size).to eq(30)
      expect(seen.group_by(&:first).values.map { |ones| ones.map(&:last) }).to all(satisfy { |ones| ones == ones.sort })
      expect([groups, redis.keys]).to eq([[], ["orders"]])
    end

    it "are none in an empty stream" do
      billing = consumer_class { define_method(:call) { |event| event } }
      expect(replay(billing).wait(10)).to be(true)
    end

    it "are refused if they are impossible" do
      billing = consumer_class { define_method(:call) { |event| event } }
      expect do
        replay(Object)
      end.to raise_error(ArgumentError, /needs a subclass of RedisIPC::Events::Consumer, got Object/)
      expect { replay(billing, group: :billing) }
        .to raise_error(RedisIPC::ConfigurationError, /a group of its own; to move billing itself use checkpoint.seek/)
      expect { replay(billing, until: :soon) }.to raise_error(RedisIPC::ConfigurationError, /until: of replay must be/)
      expect { replay(billing, from: "soon") }.to raise_error(RedisIPC::ConfigurationError, /from: of stream must be/)
      expect { replay(billing, lase: 1) }.to raise_error(RedisIPC::ConfigurationError, /lase/)
      expect { replay(Class.new(RedisIPC::Events::Consumer)) }
        .to raise_error(RedisIPC::ConfigurationError, /the replay of .* has no source/)
    end
  end

  describe "by a checkpoint" do
    let(:positions) { Array.new(3) { |number| publish(number) } }

    it "are what follows the position" do
      kept = got
      positions
      subscription = consume { |event| kept << event.data }
      expect(Array.new(3) { next_of(got) }).to match_array(0..2)
      # Events that are held until their acknowledgement is confirmed would be taken again only after a lease.
      idle = -> { eventually { subscription.stats.values_at(:taken, :held) == [subscription.stats[:acknowledged], 0] } }
      idle.call
      checkpoint = subscription.checkpoint
      expect(checkpoint.position).to eq(positions.last)
      expect(checkpoint.seek(positions.first)).to eq(positions.first)
      expect(Array.new(2) { next_of(got) }).to contain_exactly(1, 2)
      idle.call
      checkpoint.seek(:beginning)
      expect(Array.new(3) { next_of(got) }).to match_array(0..2)
      idle.call
      checkpoint.seek(Time.now - 60)
      expect(Array.new(3) { next_of(got) }).to match_array(0..2)
      idle.call
      expect(got).to be_empty
      expect(errors).to be_empty
    end

    it "are skipped up to the position" do
      kept = got
      billing = consumer_class(from: :beginning) { define_method(:call) { |event| kept << event.data } }
      start(billing)
      billing.pause
      positions
      expect(billing.checkpoint.seek(:new)).to eq(positions.last)
      billing.resume
      publish(3)
      expect(next_of(got)).to eq(3)
      expect(billing.lag).to eq(0)
    end

    it "are refused if the position is invalid" do
      subscription = consume { |event| event }
      expect { subscription.checkpoint.seek("soon") }
        .to raise_error(RedisIPC::ConfigurationError, /the position to seek must be :beginning, :new, a Time or an id/)
      expect { subscription.checkpoint.seek(nil) }.to raise_error(RedisIPC::ConfigurationError, /seek needs a position/)
      checkpoint = subscription.stop && subscription
      expect { checkpoint.checkpoint }.to raise_error(RedisIPC::NotConnectedError)
    end
  end

  describe "lag" do
    # A consumer that takes nothing, while another program moves its group.
    let(:subscription) { consume { |event| event }.pause }

    def add(count, size: 1)
      redis.pipelined { |pipe| count.times { |number| pipe.xadd("orders", { "n" => "x" * size, "i" => number.to_s }) } }
    end

    def read(count)
      redis.xreadgroup("other", "me", "orders", ">", count: count)
    end

    it "is right after the group has read on past trimmed and deleted entries" do
      redis.xgroup(:create, "orders", "other", "$", mkstream: true)
      other = consume(group: "other", from: :beginning) { |event| event }.pause
      ids = add(300)
      eventually { redis.xinfo(:groups, "orders").first["lag"] == 300 }
      redis.xtrim("orders", 200)
      expect(other.lag).to eq(200)
      read(50)
      expect(other.lag).to eq(150)
      redis.xdel("orders", ids[200], ids[220])
      expect(other.lag).to eq(148)
      read(148)
      expect(other.lag).to eq(0)
    end

    it "is counted from the nearer end, with entries of any size, and estimated in the middle" do
      redis.xgroup(:create, "orders", "other", "$", mkstream: true)
      other = consume(group: "other", from: :beginning) { |event| event }.pause
      ids = add(13_000)
      redis.xtrim("orders", 12_500)
      { ids[2_000] => 10_999, ids[11_000] => 1_999 }.each do |id, lag|
        redis.xgroup(:setid, "orders", "other", id)
        expect(other.lag).to eq(lag)
      end
      redis.xgroup(:setid, "orders", "other", ids[6_800])
      expect(other.lag).to be_nil
      redis.call("DEL", "orders")
      redis.xgroup(:create, "orders", "other", "$", mkstream: true)
      big = add(30, size: 1 << 20)
      redis.xtrim("orders", 25)
      redis.xgroup(:setid, "orders", "other", big[25])
      expect(other.lag).to eq(4)
    end
  end
end

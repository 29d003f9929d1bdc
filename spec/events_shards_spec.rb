# frozen_string_literal: true

RSpec.describe "events of channels in a Redis Cluster" do
  attr_reader :cluster

  before(:context) { @cluster = RedisCluster.new }

  after(:context) { @cluster.stop }

  let(:got) { Queue.new }
  let(:losses) { Queue.new }

  # Handles messages. Errors are in `errors`, losses in `losses`.
  def listen(**words, &block)
    consume_from(redis_options: cluster.options, on_loss: losses.method(:<<), **words, &block)
  end

  def spublish(channel, payload)
    cluster.master_of(channel).client.call("SPUBLISH", channel, payload)
  end

  # A channel of each node.
  def channels
    cluster.masters.map { |node| cluster.name_on(node, "prices") { |name| name } }
  end

  describe "by shard_channel" do
    it "come from each node, in the order of their channel" do
      kept = got
      names = channels
      listen(shard_channel: names) { |event| kept << [event.source, event.data, event.kind] }
      names.each { |name| 2.times { |number| spublish(name, number) } }
      all = next_ones(6)
      expect(all.map(&:last).uniq).to eq([:sharded_pubsub])
      expect(all.group_by(&:first).transform_values { |rows| rows.map { |row| row[1] } })
        .to eq(names.to_h { |name| [name, %w[0 1]] })
    end

    it "follow a slot that moves, and tell that" do
      kept = got
      name = channels.first
      sub = listen(shard_channel: name) { |event| kept << event.data }
      spublish(name, "before")
      expect(next_of(got)).to eq("before")
      target = cluster.masters.find { |node| node != cluster.master_of(name) }
      cluster.move(name, target)
      loss = next_of(losses)
      expect(loss).to have_attributes(source: name, cause: :slot_moved, at_most: nil, node: "127.0.0.1:#{target.port}")
      eventually { spublish(name, "after") == 1 }
      expect(next_of(got)).to eq("after")
      expect(sub.stats[:losses]).to eq(1)
      expect(errors).to be_empty
    end

    it "begin at the node that serves the slot now, whatever the map says" do
      name = channels.first
      target = cluster.masters.find { |node| node != cluster.master_of(name) }
      cluster.move(name, target)
      kept = got
      listen(shard_channel: name) { |event| kept << event.data }
      spublish(name, "a")
      expect(next_of(got)).to eq("a")
    end

    it "are counted where they can be missing" do
      name = channels.first
      listen(shard_channel: name) { |event| event }
      client = cluster.master_of(name).client
      calls = -> { client.info("commandstats").dig("ping", "calls").to_i }
      before = calls.call
      eventually { calls.call >= before + 2 }
      while_unsubscribed(client) { 3.times { |number| spublish(name, number) } }
      expect(next_of(losses)).to have_attributes(cause: :disconnected, at_most: 3)
    end

    it "have no bound where a replica was told to publish, because no node counts these" do
      name = channels.first
      master = cluster.master_of(name)
      listen(shard_channel: name) { |event| event }
      calls = -> { master.client.info("commandstats").dig("ping", "calls").to_i }
      before = calls.call
      eventually { calls.call >= before + 2 }
      while_unsubscribed(master.client) do
        cluster.replica_of(master).client.call("SPUBLISH", name, "missed")
        eventually { master.client.call("CLUSTER", "INFO")[/publishshard_received:(\d+)/, 1].to_i.positive? }
      end
      expect(next_of(losses)).to have_attributes(cause: :disconnected, at_most: nil)
    end

    it "need no cluster" do
      kept = got
      listen(shard_channel: %w[a b], redis_options: redis_options) { |event| kept << event.source }
      %w[a b].each { |name| redis.call("SPUBLISH", name, "1") }
      expect(next_ones(2)).to match_array(%w[a b])
    end
  end

  describe "by channel" do
    it "come wherever they are published, and from another node when theirs is gone" do
      own = RedisCluster.new
      kept = got
      listen(channel: "prices", redis_options: own.options) { |event| kept << [event.data, event.metadata[:node]] }
      own.masters.each { |node| node.client.publish("prices", node.port) }
      expect(next_ones(3).map(&:first)).to match_array(own.masters.map { |node| node.port.to_s })
      node = own.nodes.find { |one| one.client.call("PUBSUB", "NUMSUB", "prices").last == 1 }
      own.without(node)
      node.kill
      expect(next_of(losses, timeout: 20)).to have_attributes(cause: :failover, at_most: nil)
      eventually { own.alive.any? { |one| one.client.call("PUBSUB", "NUMSUB", "prices").last == 1 } }
      own.alive.first.client.publish("prices", "after")
      data, from = next_of(got)
      expect([data, from == "127.0.0.1:#{node.port}"]).to eq(["after", false])
    ensure
      own&.stop
    end
  end
end

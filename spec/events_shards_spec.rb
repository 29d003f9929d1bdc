# frozen_string_literal: true

RSpec.describe "events of channels in a Redis Cluster" do
  attr_reader :cluster

  before(:context) { @cluster = RedisCluster.new }

  after(:context) { @cluster.stop }

  let(:got) { Queue.new }
  let(:losses) { Queue.new }

  # Handles messages. Errors go to `errors`, losses to `losses`.
  def listen(**words, &block)
    consume_from(redis_options: cluster.options, on_loss: losses.method(:<<), **words, &block)
  end

  def spublish(channel, payload)
    cluster.master_of(channel).client.call("SPUBLISH", channel, payload)
  end

  # Returns a channel for each node.
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

    # Moves the slot of a channel, and publishes at its new node before anybody can have subscribed there. Returns how
    # many of these messages nobody has got.
    def move(name, target, messages: 0)
      _, slot = cluster.begin_move(name, target)
      id = target.client.call("CLUSTER", "MYID")
      replies = target.client.pipelined do |pipeline|
        pipeline.call("CLUSTER", "SETSLOT", slot, "NODE", id)
        messages.times { |number| pipeline.call("SPUBLISH", name, "gap #{number}") }
      end
      # A node that is told twice ends the subscriptions to its own slot.
      (cluster.masters - [target]).each { |node| node.client.call("CLUSTER", "SETSLOT", slot, "NODE", id) }
      replies.drop(1).count(0)
    end

    def other_than(node)
      cluster.masters.find { |one| one != node }
    end

    # Waits until the consumer knows what every node has counted.
    def await_bases
      asked = -> { cluster.masters.map { |node| calls_at(node, "cluster|slots") } }
      before = asked.call
      yield
      eventually { asked.call.zip(before).all? { |now, first| now > first } }
      pings = cluster.masters.sum { |node| calls_at(node, "ping") }
      eventually { cluster.masters.sum { |node| calls_at(node, "ping") } > pings + 3 }
    end

    def calls_at(node, command)
      node.client.info("commandstats").dig(command, "calls").to_i
    end

    def subscribers_at(node)
      node.client.call("CLIENT", "LIST", "TYPE", "pubsub").lines.size
    end

    it "share a connection at each node" do
      kept = got
      names = Array.new(40) { |number| "prices#{number}" }
      listen(shard_channel: names) { |event| kept << event.source }
      eventually { cluster.masters.map { |node| subscribers_at(node) } == [1, 1, 1] }
      names.each { |name| spublish(name, "a") }
      expect(next_ones(40)).to match_array(names)
    end

    it "follow a slot that moves, which is counted; other channels of the node go on" do
      kept = got
      source = cluster.masters.first
      moved, stays = %w[moved stays].map { |prefix| cluster.name_on(source, prefix) { |name| name } }
      target = other_than(source)
      sub = nil
      await_bases { sub = listen(shard_channel: [moved, stays]) { |event| kept << [event.source, event.data] } }
      gate = Queue.new
      publisher = Thread.new { Array.new(500) { |number| spublish_at(source, stays, number) || gate.push(true) } }
      50.times { gate.pop }
      lost = move(moved, target, messages: 5)
      expect(next_of(losses)).to have_attributes(source: moved, cause: :slot_moved, at_most: (be >= lost),
                                                 node: "127.0.0.1:#{target.port}")
      eventually { spublish(moved, "after") == 1 }
      publisher.join
      all = next_ones(501)
      expect(all.select { |name, _| name == stays }.map(&:last)).to eq(Array.new(500, &:to_s))
      expect(all - all.select { |name, _| name == stays }).to eq([[moved, "after"]])
      expect([lost, sub.stats[:losses], losses.size, errors.size]).to eq([5, 1, 0, 0])
      eventually { [source, target].map { |node| subscribers_at(node) } == [1, 1] }
    end

    # Publishes without looking for the node each time.
    def spublish_at(node, channel, payload)
      @clients ||= Hash.new { |clients, one| clients[one] = one.client }
      @clients[node].call("SPUBLISH", channel, payload)
      nil
    end

    it "lose nothing where nothing was published while their slot moved: nothing is told" do
      kept = got
      names = channels
      sub = nil
      await_bases { sub = listen(shard_channel: names) { |event| kept << event.data } }
      move(names.first, cluster.master_of(names.last))
      eventually { sub.stats[:reconnections] == 1 }
      eventually { spublish(names.first, "after") == 1 }
      expect([next_of(got), sub.stats[:losses], losses.size]).to eq(["after", 0, 0])
      eventually { cluster.masters.map { |node| subscribers_at(node) }.sort == [0, 1, 1] }
    end

    it "have a bound where no other channel is at the new node, and none after its counters were reset" do
      name = channels.first
      target = other_than(cluster.master_of(name))
      await_bases { listen(shard_channel: name) { |event| event } }
      lost = move(name, target, messages: 3)
      expect(next_of(losses)).to have_attributes(source: name, cause: :slot_moved, at_most: lost, exact?: false)
      expect(lost).to eq(3)
      target = other_than(target)
      target.client.config(:resetstat)
      move(name, target)
      expect(next_of(losses)).to have_attributes(source: name, cause: :slot_moved, at_most: nil)
    end

    it "begin at the node that serves the slot now, even if the map is stale" do
      name = channels.first
      cluster.move(name, other_than(cluster.master_of(name)))
      kept = got
      listen(shard_channel: name) { |event| kept << event.data }
      spublish(name, "a")
      expect(next_of(got)).to eq("a")
    end

    it "are counted if they may be missing" do
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

    it "come from the replica that takes the place of their node" do
      own = RedisCluster.new
      kept = got
      name = own.name_on(own.masters.first, "prices") { |one| one }
      listen(shard_channel: [name, "other{#{name}}"], redis_options: own.options) { |event| kept << event.data }
      replica = own.kill_master_of(name)
      loss = next_of(losses, timeout: 30)
      expect(loss).to have_attributes(cause: :failover, at_most: nil, node: "127.0.0.1:#{replica.port}")
      replica.client.call("SPUBLISH", name, "after")
      expect(next_of(got)).to eq("after")
    ensure
      own&.stop
    end

    it "need no cluster" do
      kept = got
      listen(shard_channel: %w[a b], redis_options: redis_options) { |event| kept << event.source }
      %w[a b].each { |name| redis.call("SPUBLISH", name, "1") }
      expect(next_ones(2)).to match_array(%w[a b])
    end
  end

  describe "by channel" do
    it "come from any node, and from another one when theirs is gone" do
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

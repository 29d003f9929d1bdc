# frozen_string_literal: true

module Chaos
  module Live
    # Another server has the channels or the keys, by Sentinel or in a cluster.
    module Table
      # Two servers do not count together.
      elsewhere = { counted: false, calm: 0, times: 3, within: 1.0 }
      watched = { stage: Stage.new(place: -> { WatchedPlace.new }, source: WatchedChannel), **elsewhere }

      fault("failover by Sentinel, on demand", **watched) do
        old, = watched_servers
        Chaos.eventually(timeout: 30) { fail_over? }
        await_master_after(old.port)
        over!
        await_replica
      end

      fault("failover by Sentinel, the master killed", **watched) { lose_master { over! } }

      nodes = -> { ClusteredPlace.new(notify_keyspace_events: "Kx") }
      clustered = ->(source) { Stage.new(place: nodes, source: source) }
      shards = { stage: clustered.call(ShardChannels) }
      first = RoutedSource::NAMES.first

      fault("cluster, shard_channel: CLIENT KILL at each node", **shards) { close_subscriptions(cluster.masters) }

      # Redis ends the subscription, and not the connection.
      moves = { **elsewhere, breaks: false, gap: 1.0 }
      # It moves back, so that each node has one of the channels: a node counts what is published to all of them.
      fault("cluster, shard_channel: a slot moves", **shards, **moves) do
        home = cluster.master_of(first)
        move(first)
        over!
        stand 0.2
        move(first, home)
      end

      fault("cluster, shard_channel: the master of a slot killed", **shards, **elsewhere) do
        lose_node(cluster.master_of(first), first) { over! }
      end

      joins = { random: false, times: 2 }
      fault("cluster, shard_channel: a node joins, and a slot moves there", **shards, **moves, **joins) do
        enlarge(first)
      end

      # Nobody counts there what a replica was told to publish.
      fault("cluster, shard_channel, published by replicas: CLIENT KILL at each node",
            stage: clustered.call(ShardChannelsOfReplicas), counted: false) { close_subscriptions(cluster.masters) }

      # Another node may get a message later than the one that has sent it to the consumer.
      channel = { stage: clustered.call(ClusteredChannel), **elsewhere, again: true }

      fault("cluster, channel: CLIENT KILL at its node", **channel) { close_subscriptions([subscribed_node]) }

      fault("cluster, channel: its node killed", **channel) do
        node = subscribed_node
        node.kill
        cluster.without(node)
        over!
        cluster.revive(node)
      end

      keys = { stage: clustered.call(ExpiringClusteredKeys) }

      fault("cluster, keys: CLIENT KILL at one node", **keys) { close_subscriptions([cluster.master_of(first)]) }

      # Every node is subscribed at.
      fault("cluster, keys: a slot moves", **keys, **elsewhere, breaks: false, lossless: true) { move(first) }

      fault("cluster, keys: the master of a slot killed", **keys, **elsewhere, breaks: false) do
        lose_node(cluster.master_of(first), first) { over! }
      end

      # A node that is new is found within 5 s.
      found = { breaks: false, within: 6 }
      fault("cluster, keys: a node joins, and a slot moves there", **keys, **elsewhere, **joins, **found) do
        enlarge(first)
      end
    end
  end
end

# frozen_string_literal: true

require_relative "live_world"

# What is measured of live events, and what the project wants of them.
module Bench
  # The cases of live events: subscribers to channels, how long nothing comes at a fault, and what idle ones cost.
  module LiveCases
    # Each subscriber: the program and its words.
    SUBSCRIBERS = {
      "subscriber" => ["subscriber.rb", { threads: 1 }], "subscriber_5" => ["subscriber.rb", { threads: 5 }],
      "subscriber_batch" => ["subscriber.rb", { threads: 1, batch: 500 }],
      "redis_rb_subscriber" => ["subscriber.rb", { driver: "redis_rb" }],
      "redis_py_subscriber" => ["subscriber.py", {}]
    }.freeze
    # The peers in the order of the tables.
    PEERS = { "subscriber" => "redis_ipc, 1 thread", "subscriber_5" => "redis_ipc, 5 threads",
              "subscriber_batch" => "redis_ipc, 1 thread, batches of 500", "redis_rb_subscriber" => "Ruby, redis-rb",
              "redis_py_subscriber" => "Python, redis-py" }.freeze
    GEM = %w[subscriber subscriber_5 subscriber_batch].freeze
    ONE = %w[subscriber].freeze
    # The faults of bin/chaos whose figures are looked at, and these figures.
    FAULTS = { "back_cut" => ["Until messages come again after CLIENT KILL", "CLIENT KILL of the subscription",
                              :back_ms],
               "back_restart" => ["Until messages come again after Redis was started again",
                                  "server killed, and started again", :back_ms],
               "gap_moved" => ["Without messages while a slot moves to another node",
                               "cluster, shard_channel: a slot moves", :gap_ms] }.freeze
    # What an idle consumer is subscribed to: the source, and whether there is a cluster.
    IDLE = { "idle_channel" => ["channel", "channel", false], "idle_keys" => ["keys", "keys", false],
             "idle_cluster_channel" => ["channel, in a cluster", "channel", true],
             "idle_cluster_shards" => ["shard_channel, a channel of each of three nodes", "shard_channel", true],
             "idle_cluster_keys" => ["keys, in a cluster of three nodes", "keys", true] }.freeze

    class << self
      def all
        @all ||= [*subscribers, *faults, *idlers]
      end

      private

      def subscribers
        [1, 100].map { |count| subscribing("channels", "", count, LiveWorld::Single) } +
          [3, 100].map { |count| subscribing("shards", " of shards, over three nodes", count, LiveWorld::Cluster) }
      end

      def faults
        FAULTS.map do |name, (title, fault, figure)|
          one(name, "faults", title, :fault, fault: fault, figure: figure)
        end
      end

      def idlers
        IDLE.map { |name, (title, source, cluster)| idler(name, title, source, cluster) }
      end

      def subscribing(family, what, count, world)
        title = "#{count} channel#{"s" if count > 1}#{what}, messages of 200 B"
        Case.new(name: "#{family}_#{count}", family: family, title: title, kind: :subscribe, peers: PEERS.keys,
                 world: { servers: world },
                 load: { channels: count, source: family == "shards" ? "shard_channel" : "channel" })
      end

      def idler(name, title, source, cluster)
        one(name, "idle", title, :idle, channels: cluster ? 3 : 1, source: source).tap do |one|
          one.world = { servers: cluster ? LiveWorld::Cluster : LiveWorld::Single }
        end
      end

      def one(name, family, title, kind, **load)
        Case.new(name: name, family: family, title: title, kind: kind, peers: ONE, world: {}, load: load)
      end
    end
  end

  beside = ->(f, name) { f.of_peers(name, :messages_s, "subscriber", "redis_rb_subscriber") }
  # The targets of live events.
  LIVE_TARGETS = [
    ["1 channel, one thread, messages/s, beside redis-rb", :least, 3.0, "x", ->(f) { beside.call(f, "channels_1") }],
    ["100 channels, one thread, messages/s, beside redis-rb", :least, 3.0, "x",
     ->(f) { beside.call(f, "channels_100") }],
    ["messages again after CLIENT KILL, the longest of 8", :most, 500, " ms",
     ->(f) { f.of("back_cut", "subscriber", :longest_ms) }],
    ["messages again after Redis is back, the longest of 8", :most, 500, " ms",
     ->(f) { f.of("back_restart", "subscriber", :longest_ms) }],
    ["without messages while a slot moves, the longest of 3", :most, 1000, " ms",
     ->(f) { f.of("gap_moved", "subscriber", :longest_ms) }],
    ["idle, commands/s of a server", :most, 2, "", ->(f) { f.of("idle_channel", "subscriber", :commands_s) }],
    ["idle, keys in a cluster, commands/s of the busiest node", :most, 2, "",
     ->(f) { f.of("idle_cluster_keys", "subscriber", :commands_s) }]
  ].map { |values| Target.new(*values) }.freeze
end

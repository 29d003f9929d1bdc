# frozen_string_literal: true

require_relative "../../spec/support/redis_cluster"
require_relative "../../spec/support/redis_server"

module Bench
  # The servers that subscribers are measured at.
  module LiveWorld
    # How many messages one script publishes.
    SCRIPT = 1_000
    # Publishes to channels in turn, which need not have the slot of any key.
    PUBLISH = <<~LUA
      #!lua flags=allow-cross-slot-keys
      local payload = string.rep("x", 200)
      for number = 1, ARGV[1] do
        redis.call(ARGV[2], ARGV[2 + number % (#ARGV - 2) + 1], payload)
      end
    LUA
    # A subscriber that is slower than the script is not cut off. Keys tell that they have expired.
    SETTINGS = { "client-output-buffer-limit" => "pubsub 0 0 0", "notify-keyspace-events" => "Kx" }.freeze

    # One server.
    class Single
      def initialize
        @server = RedisServer.new
        SETTINGS.each { |name, value| @server.client.config(:set, name, value) }
      end

      # Returns the settings of bench/consumers/subscriber.rb.
      def settings
        { ports: @server.port }
      end

      # Publishes so many messages, to so many channels.
      def publish(scripts, channels)
        names = Array.new(channels) { |number| "channel#{number}" }
        scripts.times { @server.client.eval(PUBLISH, [], [SCRIPT, "PUBLISH", *names]) }
      end

      # Returns how many commands each server has run.
      def commands
        [LiveWorld.calls(@server.client)]
      end

      def stop
        @server.stop
      end
    end

    # A cluster of three nodes.
    class Cluster
      # Hash tags, of which each belongs to another node.
      TAGS = [0, 1, 3].freeze

      def initialize
        @cluster = RedisCluster.new(masters: 3, replicas: 0)
        nodes.each { |node| SETTINGS.each { |name, value| node.client.config(:set, name, value) } }
      end

      def settings
        { ports: nodes.map(&:port).join(","), cluster: 1 }
      end

      # Publishes so many messages, to so many channels of shards.
      def publish(scripts, channels)
        names = Array.new(channels) { |number| "channel#{number}:{#{TAGS[number % TAGS.size]}}" }
        parts = names.group_by { |name| @cluster.master_of(name) }.cycle
        scripts.times do
          node, some = parts.next
          node.client.eval(PUBLISH, [], [SCRIPT, "SPUBLISH", *some])
        end
      end

      def commands
        nodes.map { |node| LiveWorld.calls(node.client) }
      end

      def stop
        @cluster.stop
      end

      private

      def nodes
        @cluster.nodes
      end
    end

    # Returns how many commands a server has run, with each INFO.
    def self.calls(client)
      client.info("commandstats").sum { |_, stats| stats["calls"].to_i }
    end
  end
end

# frozen_string_literal: true

module Chaos
  module Live
    # What is published, and how a consumer subscribes to it. The numbers of a line come in their order.
    class Source
      # What all names begin with.
      NAME = "live"

      # @param place [Place]
      # @param bytes [Integer] how long a message is at least
      def initialize(place, bytes: 0)
        @place = place
        @filler = "x" * bytes
      end

      # Returns how many lines there are. So many numbers in a row have one for each.
      def lines
        1
      end

      # Returns the line of a number; nil if numbers have no order.
      def line_of(_number)
        0
      end

      # Publishes a number in such a way that its message tells when it was sent. As a rule all do.
      def mark(number)
        publish(number)
      end

      # Whether a number is sent when it is published, and not some time later.
      def prompt?
        true
      end

      # Returns those numbers that Redis has sent to its subscribers.
      def sent(numbers)
        numbers
      end

      # Forgets what it is connected to.
      def reset
        close
        @client = nil
      end

      def close
        @client&.close
      end

      private

      attr_reader :place

      def client
        @client ||= connect(path: place.server.path)
      end

      def connect(**address)
        RedisServer.client(**address, timeout: 5, reconnect_attempts: 0)
      end
    end

    # Messages of a channel.
    class Channel < Source
      # Returns what a consumer says of its source.
      def words
        { channel: NAME }
      end

      def publish(number)
        client.publish(NAME, "#{number}#{@filler}")
      end

      def number_of(event)
        event.data.to_i
      end
    end

    # Messages of a channel of the server that a sentinel calls the master.
    class WatchedChannel < Channel
      private

      def client
        @client ||= connect(port: place.master_port || raise(Redis::CannotConnectError, "there is no master"))
      end
    end

    # Messages of a channel in a cluster, published by any of its nodes.
    class ClusteredChannel < Channel
      private

      def client
        @client ||= connect(path: place.cluster.alive.sample.path)
      end
    end

    # What goes to the node of a cluster that serves its name. Each name is a line.
    class RoutedSource < Source
      # Of three nodes with as many slots each has one.
      NAMES = %w[live:{0} live:{1} live:{3}].freeze

      def initialize(place, **)
        super
        @clients = {}
      end

      def lines
        NAMES.size
      end

      def line_of(number)
        number % NAMES.size
      end

      def reset
        close
        @clients = {}
      end

      def close
        @clients.each_value(&:close)
      end

      private

      def client_of(line)
        @clients[line] ||= connect(path: server_of(line).path)
      end

      def server_of(line)
        place.cluster.master_of(NAMES.fetch(line)) || raise(Redis::CannotConnectError, "no node serves it")
      end
    end

    # Messages of channels of shards.
    class ShardChannels < RoutedSource
      def words
        { shard_channel: NAMES }
      end

      def publish(number)
        line = line_of(number)
        client_of(line).call("SPUBLISH", NAMES.fetch(line), number)
      end

      def number_of(event)
        event.data.to_i
      end
    end

    # The same, published by replicas, which Redis allows. The nodes of a shard tell it each other.
    class ShardChannelsOfReplicas < ShardChannels
      private

      def server_of(line)
        place.cluster.replica_of(super) || raise(Redis::CannotConnectError, "it has no replica")
      end
    end

    # Keys that expire.
    module Expiring
      def words
        { keys: "#{Source::NAME}:*", on: %i[expired] }
      end

      # They are handled at the same time.
      def line_of(_number)
        nil
      end

      # Returns once Redis has told that it has expired.
      def expire(client, key)
        client.set(key, 1, px: 1)
        sleep 0.001 while client.get(key)
      end

      def number_of(event)
        event.key[/\d+\z/].to_i
      end
    end

    # Keys of one server that expire.
    class ExpiringKeys < Source
      include Expiring

      def publish(number)
        expire(client, "#{NAME}:#{number}")
      end
    end

    # Keys of a cluster that expire. Those of a line are served by the same node.
    class ExpiringClusteredKeys < RoutedSource
      include Expiring

      def publish(number)
        line = number % NAMES.size
        expire(client_of(line), "#{NAMES.fetch(line)}:#{number}")
      end
    end

    # Keys of one server that are evicted, because others need their room.
    class EvictedKeys < Source
      include Expiring

      ROOM = 500_000
      VALUE = ("x" * 1_000).freeze

      def initialize(place, **)
        super
        @kept = []
        @most = place.admin.info("memory").fetch("used_memory").to_i + ROOM
        place.admin.config(:set, "maxmemory-policy", "allkeys-lru")
      end

      def words
        super.merge(on: %i[expired evicted])
      end

      # Nobody knows when a key is evicted.
      def prompt?
        false
      end

      def publish(number)
        limit(@most)
        client.set(key(number), VALUE)
      end

      # A key expires, so that it is known when. From then on none is evicted: a command that only looks
      # which keys are there needs room, too.
      def mark(number)
        limit(0)
        expire(client, key(number))
      end

      # The others are still there.
      def sent(numbers)
        @kept += numbers
        return [] if @kept.empty?

        values = client.mget(@kept.map { |number| key(number) })
        gone, @kept = @kept.zip(values).partition { |_, value| value.nil? }.map { |pairs| pairs.map(&:first) }
        gone
      end

      private

      def key(number)
        "#{NAME}:#{number}"
      end

      # Sets how much Redis may keep; 0: all.
      def limit(bytes)
        client.config(:set, "maxmemory", bytes) unless bytes == @limit
        @limit = bytes
      end
    end
  end
end

# frozen_string_literal: true

module RedisIPC
  class Admin
    # What is wrong with the servers of Redis.
    # @api private
    class NodeFindings < Findings
      # From this share of a limit on it is told.
      FULL = 0.9
      # A clock that is off by more seconds is told.
      CLOCK = 1.0
      # An answer to TIME that takes longer is told.
      SLOW = 0.05
      private_constant :FULL, :CLOCK, :SLOW

      private

      def look
        @overview.nodes.each do |node|
          state(node)
          memory(node)
          connections(node)
          time(node)
        end
        notifications
      end

      def state(node)
        if node.server == "redis" && node.version && node.version.to_i < 7
          error(:old_redis, node.address, "it is Redis #{node.version}", "Redis 7.0 or newer is needed")
        end
        return if node.latency && !node.loading

        error(:redis_away, node.address, node.loading ? "it is loading its data" : "it does not answer",
              node.loading ? "wait until it has" : "look whether it runs, and can be reached from here")
      end

      def memory(node)
        evicts(node) if evicts?(node)
        share = node.memory_share
        return unless share && share >= FULL

        text = format("%.0f %% of maxmemory are used", share * 100)
        sizes = "#{ByteSize.of(node.used_memory)} of #{ByteSize.of(node.maxmemory)}"
        policy = "; the policy is #{node.policy}" if node.policy
        error(:memory, node.address, "#{text}: #{sizes}#{policy}",
              "raise maxmemory, or find what fills it (redis-cli --bigkeys): at the limit Redis #{at_limit(node)}")
      end

      def evicts?(node)
        ![nil, "noeviction"].include?(node.policy)
      end

      def at_limit(node)
        evicts?(node) ? "deletes keys" : "refuses requests (OOM)"
      end

      def evicts(node)
        error(:eviction, node.address,
              "at maxmemory the policy #{node.policy} deletes keys, also inboxes and streams of events " \
              "(#{count(node.evicted.to_i, "key")} so far)", "CONFIG SET maxmemory-policy noeviction")
      end

      def connections(node)
        return unless node.clients && node.max_clients.to_i.positive? && node.clients >= node.max_clients * FULL

        error(:connections, node.address, "#{node.clients} of #{node.max_clients} connections are in use",
              "raise maxclients, or look with CLIENT LIST who has them")
      end

      def time(node)
        if node.latency.to_f > SLOW
          warning(:slow_redis, node.address, "it took #{seconds(node.latency)} to tell the time",
                  "look at SLOWLOG GET and LATENCY DOCTOR, and at the network")
        end
        return unless node.clock_offset.to_f.abs > CLOCK

        side = node.clock_offset.positive? ? "ahead of" : "behind"
        warning(:clock, node.address, "its clock is #{seconds(node.clock_offset.abs)} #{side} this machine's",
                "look at NTP on both: deadlines go by Redis's clock, and times in logs by each machine's")
      end

      # Consumers of keys are told of nothing if Redis does not send it.
      def notifications
        return if @overview.event_groups.none? { |group| group.source == "keys" }

        @overview.nodes.each do |node|
          next unless node.notifications && !node.notifications.match?(/[KE]/)

          error(:notifications, node.address, "consumers of keys wait for notifications, and Redis sends none",
                "CONFIG SET notify-keyspace-events KA")
        end
      end
    end
    private_constant :NodeFindings
  end
end

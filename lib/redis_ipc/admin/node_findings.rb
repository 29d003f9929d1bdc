# frozen_string_literal: true

module RedisIPC
  class Admin
    # What is wrong with the servers of Redis.
    # @api private
    class NodeFindings < Findings
      # From this share of the memory limit on it is told.
      FULL = 0.9
      # A clock that is off by more seconds is told.
      CLOCK = 1.0
      # An answer to TIME that takes longer is told.
      SLOW = 0.05
      private_constant :FULL, :CLOCK, :SLOW

      private

      def look
        @overview.nodes.each do |node|
          version(node)
          memory(node)
          connections(node)
          time(node)
        end
      end

      def version(node)
        return unless node.version && node.server == "redis" && node.version.to_i < 7

        error(:old_redis, node.address, "it is Redis #{node.version}", "Redis 7.0 or newer is needed")
      end

      def memory(node)
        share = node.memory_share
        evicts(node) unless [nil, "noeviction"].include?(node.policy)
        return unless share && share >= FULL

        error(:memory, node.address, format("%.0f %% of maxmemory are used", share * 100),
              "raise maxmemory, or find what fills it with MEMORY STATS: at the limit requests are refused (OOM)")
      end

      def evicts(node)
        error(:eviction, node.address,
              "the policy #{node.policy} deletes keys at maxmemory, also inboxes and streams of events " \
              "(#{node.evicted.to_i} keys so far)", "set maxmemory-policy noeviction")
      end

      def connections(node)
        return unless node.clients && node.max_clients.to_i.positive? && node.clients >= node.max_clients * FULL

        error(:connections, node.address, "#{node.clients} of #{node.max_clients} connections are in use",
              "raise maxclients, or look with CLIENT LIST who has them")
      end

      def time(node)
        if node.latency.to_f > SLOW
          warning(:slow_redis, node.address, "it took #{seconds(node.latency)} to answer TIME",
                  "look with SLOWLOG GET and LATENCY DOCTOR, and at the network")
        end
        return unless node.clock_offset.to_f.abs > CLOCK

        warning(:clock, node.address, "its clock is #{seconds(node.clock_offset.abs)} " \
                                      "#{node.clock_offset.positive? ? "ahead of" : "behind"} this machine's",
                "check NTP on both: deadlines go by Redis's clock, times in logs by each machine's")
      end
    end
    private_constant :NodeFindings
  end
end

# frozen_string_literal: true

require_relative "../spec/support/redis_cluster"

module Chaos
  # A Redis Cluster: three masters with a replica each.
  class ClusteredPlace < Place
    attr_reader :cluster

    def initialize(**settings)
      @cluster = RedisCluster.new(**settings)
      super(server: @cluster.nodes.first)
    end

    def redis_options
      cluster.options
    end

    # Returns a client of the node with the dead letters.
    def admin
      cluster.master_of("house:dead:answerer").client
    end

    def servers
      cluster.masters
    end

    # Returns how many commands all nodes together have run.
    def commands
      cluster.alive.sum { |node| node.client.info("stats").fetch("total_commands_processed").to_i }
    rescue Redis::BaseError, SystemCallError
      nil
    end

    # Returns the node that serves the inbox.
    def master
      cluster.master_of(Table::INBOX)
    end

    # Moves the inbox's slot to another node, with the keys in it.
    def move_inbox
      cluster.move(Table::INBOX, (cluster.masters - [master]).first)
    end

    # Waits until another node than `lost` serves a key.
    def await_master_after(lost, key = Table::INBOX)
      cluster.without(lost)
      Chaos.eventually(timeout: 30) { ![nil, lost].include?(cluster.master_of(key)) }
    end

    def stop
      cluster.stop
    end
  end
end

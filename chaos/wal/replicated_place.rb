# frozen_string_literal: true

require_relative "place"

module Chaos
  module Wal
    # A primary and a standby, to which the addresses move. Commits wait for the standby.
    class ReplicatedPlace < Place
      STANDBY = { "hot_standby_feedback" => "on" }.freeze
      # PostgreSQL 17 and later copy slots.
      COPYING = { "sync_replication_slots" => "on" }.freeze

      # @param copies [Boolean] whether the standby gets the slot, too
      def initialize(copies: false)
        if copies && Databases::Cluster.version < 17
          raise Chaos::Scene::Impossible, "PostgreSQL #{Databases::Cluster.version} copies no slots to standbys"
        end

        @copies = copies
        super(copies ? { "synchronized_standby_slots" => "standby" } : {})
        @standby_port = RedisServer.free_port
        @standby = Databases::Cluster.new({ **SETTINGS, **STANDBY, **(copies ? COPYING : {}),
                                            "port" => @standby_port.to_s }, primary: server)
        server.query("ALTER SYSTEM SET synchronous_standby_names = '*'")
        server.query("SELECT pg_reload_conf()")
        Chaos.eventually { server.query("SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'").any? }
      end

      # Kills the primary, and makes the standby the primary.
      def fail_over
        await_copy if @copies
        server.kill
        @dead = server
        @server = @standby
        server.promote
        move_to(@standby_port)
      end

      def stop
        super
        @dead ? @dead.stop : @standby&.stop
      end

      private

      def create_slot
        return super unless @copies

        server.query("SELECT pg_create_logical_replication_slot('#{SLOT}', 'pgoutput', failover => true)")
      end

      # A copy can be used once the slot has moved on from where the copy began.
      def await_copy
        Chaos.eventually(timeout: 50, every: 0.2) do
          server.query("SELECT pg_log_standby_snapshot()")
          @standby.query("SELECT 1 FROM pg_replication_slots WHERE synced AND NOT temporary").any?
        end
      end
    end
  end
end

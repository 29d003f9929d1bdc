# frozen_string_literal: true

module Bench
  # Runs the programs that read PostgreSQL's log, and finds pg_recvlogical.
  module WalPlayer
    TOOL = "pg_recvlogical"
    # Each consumer: the program and its words.
    CONSUMERS = {
      "wal" => ["wal.rb", { threads: 1, handler: "read" }],
      "wal_batch" => ["wal.rb", { threads: 1, batch: 500, handler: "batch" }],
      "psycopg2" => ["wal.py", {}], "psycopg2_values" => ["wal.py", { decode: 1 }]
    }.freeze

    class << self
      # @return [String, nil] why a peer cannot be measured here
      def absent(peer)
        return WalWorld.absent if WalWorld.absent
        return ("it is not installed" unless File.executable?(tool_path)) if peer == TOOL

        EventPlayer.absent(peer)
      end

      # @return [Array<String>]
      def command(peer, world, slot, **settings)
        [*EventPlayer.command(peer), *Settings.format({ **words(world, slot), **settings }).split]
      end

      # @param output [String] where pg_recvlogical writes
      # @return [Array<String>]
      def tool(world, slot, output, *options)
        [tool_path, "--host", world.folder, "--username", "spec", "--dbname", "postgres", "--slot", slot, "--start",
         "--no-loop", "--fsync-interval", "0", "--file", output, "--option", "proto_version=1", "--option",
         "publication_names=bench", *options]
      end

      # Runs a consumer until it has measured itself.
      # @return [Hash] what {ConsumerFigures} says
      def run(peer, world, slot, **settings)
        EventPlayer.measure(peer, { **words(world, slot), warm_up: 0, seconds: Events::LONG, **settings })
      end

      private

      def words(world, slot)
        { folder: world.folder, slot: slot, events: world.rows }
      end

      # It is beside the server, which may be linked to from elsewhere.
      def tool_path
        server = File.join(Databases::Cluster.binaries.to_s, "postgres")
        File.join(File.dirname(File.exist?(server) ? File.realpath(server) : server), TOOL)
      end
    end
  end
end

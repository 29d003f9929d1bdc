# frozen_string_literal: true

module Bench
  # Finds and runs the programs that read PostgreSQL's log.
  module WalPlayer
    TOOL = "pg_recvlogical"
    # Each consumer: the program and its words.
    CONSUMERS = {
      "wal" => ["wal.rb", { threads: 1, handler: "read" }],
      "wal_batch" => ["wal.rb", { threads: 1, batch: 500, handler: "batch" }],
      "psycopg2" => ["wal.py", {}], "psycopg2_values" => ["wal.py", { decode: 1 }]
    }.freeze
    REQUIREMENTS = File.join(EventPlayer::CONSUMERS, "requirements_wal.txt")

    class << self
      # @return [String, nil] why a peer cannot be measured here
      def absent(peer)
        return WalWorld.absent if WalWorld.absent
        return ("it is not installed" unless File.executable?(tool_path)) if peer == TOOL

        interpreter(CONSUMERS.fetch(peer).first)
        nil
      rescue StandardError => e
        e.message.lines.first.chomp
      end

      # @return [Array<String>]
      def command(peer, world, slot, **settings)
        program, words = CONSUMERS.fetch(peer)
        settings = { folder: world.folder, slot: slot, events: world.rows, **words, **settings }
        [*interpreter(program), *Settings.format(settings).split]
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
        program = IO.popen(command(peer, world, slot, **settings))
        line = program.gets if program.wait_readable(Events::LONG)
        Settings.parse(line.to_s.split).tap do |measured|
          raise "#{peer} has not measured itself: #{line.inspect}" unless measured.key?(:rss_kib)
        end
      ensure
        Process.kill(:KILL, program.pid)
        program.close
      end

      private

      # It is beside the server, which may be linked to from elsewhere.
      def tool_path
        server = File.join(Databases::Cluster.binaries.to_s, "postgres")
        File.join(File.dirname(File.exist?(server) ? File.realpath(server) : server), TOOL)
      end

      def interpreter(program)
        path = File.join(EventPlayer::CONSUMERS, program)
        return [RbConfig.ruby, "-I#{Player::ROOT}/lib", path] if program.end_with?(".rb")

        [PeerPackages.python(requirements: REQUIREMENTS), path]
      end
    end
  end
end

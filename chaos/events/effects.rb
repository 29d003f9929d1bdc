# frozen_string_literal: true

module Chaos
  module Events
    # What handlers with exactly_once have written to a database (SQLite).
    class Effects
      # How long a transaction waits for another one, in ms. A stopped process may have one open.
      PATIENCE = 20_000
      # A process that is killed loses nothing that it has committed, and the machine runs on.
      QUICK = ["PRAGMA journal_mode = WAL", "PRAGMA synchronous = OFF"].freeze
      private_constant :PATIENCE, :QUICK

      # Returns why there can be none here, if so.
      def self.missing
        %w[active_record sqlite3].each { |gem| require gem }
        nil
      rescue LoadError => e
        e.message
      end

      # Connects Active Record to the database, and makes the tables that are not there.
      # @param path [String]
      def initialize(path)
        require "active_record"
        ActiveRecord::Base.establish_connection(adapter: "sqlite3", database: path, timeout: PATIENCE, pool: 20)
        File.open("#{path}.lock", File::CREAT | File::RDWR) do |lock|
          lock.flock(File::LOCK_EX)
          make_tables
        end
      end

      # Writes that an event has had its effect.
      # @param id [String]
      # @param time [Float] of the monotonic clock
      def add(id, time)
        connection = ActiveRecord::Base.connection
        connection.insert("INSERT INTO effects (id, time) VALUES (#{connection.quote(id)}, #{time})")
      end

      # Reads a database.
      # @return [Array<Array(String, Float)>] the ids and the times
      def self.read(path)
        return [] unless File.exist?(path)

        require "sqlite3"
        database = SQLite3::Database.new(path)
        database.busy_timeout = PATIENCE
        database.execute("SELECT id, time FROM effects")
      ensure
        database&.close
      end

      private

      def make_tables
        connection = ActiveRecord::Base.connection
        QUICK.each { |pragma| connection.execute(pragma) }
        connection.execute("CREATE TABLE IF NOT EXISTS effects (id text, time real)")
        RedisIPC::Events.create_tables(ActiveRecord::Base)
      end
    end
  end
end

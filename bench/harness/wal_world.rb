# frozen_string_literal: true

require_relative "../../spec/support/database_cluster"

module Bench
  # A cluster of PostgreSQL whose log is full of rows. Each consumer reads it by a slot of its own.
  class WalWorld
    CONFIG = { "wal_level" => "logical", "max_replication_slots" => "20", "max_wal_senders" => "20",
               "max_wal_size" => "8GB" }.freeze
    TABLE = "CREATE TABLE rows (id bigint PRIMARY KEY, number int, filler text); " \
            "CREATE PUBLICATION bench FOR TABLE rows"
    # What a row has besides its filler, in bytes of the log.
    REST = 30
    # How many rows a transaction has, unless told otherwise.
    TRANSACTION = 1_000
    # Slots are copied, because the log is read once by each.
    ORIGINAL = "original"

    attr_reader :folder, :connection, :rows

    # @return [String, nil] why there can be none
    def self.absent
      Databases::Cluster.missing
    end

    # @param rows [Integer] how many there are
    # @param bytes [Integer] the size of each
    # @param transaction [Integer] how many rows a transaction has
    def initialize(rows:, bytes: 200, transaction: TRANSACTION)
      require "pg"
      @cluster = Databases::Cluster.new(CONFIG)
      @folder = @cluster.folder
      @rows = rows
      @connection = PG.connect(host: folder, user: "spec", dbname: "postgres")
      @connection.exec("SET client_min_messages = error; #{TABLE}")
      create(ORIGINAL)
      (0...rows).step(transaction) do |first|
        last = [first + transaction, rows].min - 1
        @connection.exec("INSERT INTO rows SELECT id, id, repeat('x', #{bytes - REST}) " \
                         "FROM generate_series(#{first}, #{last}) id")
      end
      @slots = 0
    end

    # Makes a slot that begins now.
    def create(slot)
      @connection.exec("SELECT pg_create_logical_replication_slot('#{slot}', 'pgoutput')")
    end

    # Yields the name of a new slot with all rows.
    def with_slot
      slot = "bench#{@slots += 1}"
      @connection.exec("SELECT pg_copy_logical_replication_slot('#{ORIGINAL}', '#{slot}')")
      yield slot
    ensure
      drop(slot)
    end

    # @return [String] the end of the log
    def end_of_log
      @connection.exec("SELECT pg_current_wal_insert_lsn()").getvalue(0, 0)
    end

    def stop
      @connection.close
      @cluster.stop
    end

    private

    # Its reader may not be gone yet.
    def drop(slot)
      @connection.exec("SELECT pg_drop_replication_slot('#{slot}')")
    rescue PG::ObjectInUse
      sleep 0.01
      retry
    end
  end
end

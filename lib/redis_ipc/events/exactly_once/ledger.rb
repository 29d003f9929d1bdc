# frozen_string_literal: true

module RedisIPC
  module Events
    class ExactlyOnce
      # The two tables of the database, and the statements on them. The statements are plain SQL, because those of
      # ActiveRecord differ between its versions, and need classes for tables without a primary key of one column.
      # @api private
      class Ledger
        # The names of the tables, before the prefix and the suffix of ActiveRecord.
        PROCESSED = "redis_ipc_processed"
        LANES = "redis_ipc_lanes"
        # The advice in error messages on how to create the tables.
        TELL = "run `rails generate redis_ipc:exactly_once` and `rails db:migrate`, or call " \
               "RedisIPC::Events.create_tables"
        # How many rows one statement inserts, because SQLite limits its length.
        ROWS = 1_000
        private_constant :TELL, :ROWS

        # @return [String] the consumer's name in the tables
        attr_reader :consumer
        # @return [String] the names of the tables
        attr_reader :processed, :lanes

        # @param record [Class]
        # @param consumer [String]
        def initialize(record, consumer)
          @consumer = consumer
          @processed, @lanes = Ledger.tables(record)
          freeze
        end

        # @param record [Class]
        # @return [Array<String>] the names of its tables
        def self.tables(record)
          [PROCESSED, LANES].map { |name| "#{record.table_name_prefix}#{name}#{record.table_name_suffix}" }
        end

        # @param connection [ActiveRecord::ConnectionAdapters::AbstractAdapter]
        # @return [Statements]
        def on(connection)
          Statements.new(self, connection)
        end

        # The statements, on one connection.
        # @api private
        class Statements
          def initialize(ledger, connection)
            @connection = connection
            @processed, @lanes = [ledger.processed, ledger.lanes].map { |name| connection.quote_table_name(name) }
            @tables = [ledger.processed, ledger.lanes]
            @consumer = connection.quote(ledger.consumer)
          end

          # @return [Boolean] whether only one transaction at a time can write
          def one_writer?
            @connection.adapter_name.match?(/sqlite/i)
          end

          # @param who [String] the class
          # @return [true]
          # @raise [ConfigurationError]
          def check(who)
            unless @connection.supports_insert_conflict_target?
              Check.refuse("exactly_once of #{who} needs PostgreSQL or SQLite (3.24 or later), not " \
                           "#{@connection.adapter_name}")
            end
            missing = @tables.find { |name| !@connection.data_source_exists?(name) }
            Check.refuse("exactly_once of #{who} needs the table #{missing}: #{TELL}") if missing
            true
          end

          # @param records [Array<Record>]
          # @return [Integer] how many did not exist
          def add(records)
            # Always inserts in the same order, so that no two transactions wait for each other.
            records.sort_by(&:event_id).each_slice(ROWS).sum { |some| insert(some) }
          end

          # @param records [Array<Record>]
          # @return [Set<String>] the ids of those that exist
          def known(records)
            records.each_slice(ROWS).flat_map do |some|
              select_values("SELECT event_id FROM #{@processed} WHERE #{these(some)}")
            end.to_set
          end

          # @param records [Array<Record>]
          def remove(records)
            records.each_slice(ROWS) { |some| update("DELETE FROM #{@processed} WHERE #{these(some)}") }
          end

          # Raises a lane's epoch.
          def claim(lane, epoch)
            update("INSERT INTO #{@lanes} (consumer, lane, epoch) VALUES (#{@consumer}, #{lane}, #{epoch}) " \
                   "ON CONFLICT (consumer, lane) DO UPDATE SET epoch = excluded.epoch " \
                   "WHERE #{@lanes}.epoch < excluded.epoch")
          end

          # Locks the epoch in shared mode, so that it cannot change before the transaction ends.
          # @return [Integer, nil]
          def epoch(lane)
            select_values("SELECT epoch FROM #{@lanes} WHERE consumer = #{@consumer} AND lane = #{lane}#{lock}").first
          end

          # @param done_before [Time]
          # @param floor [Integer] the lowest number of an event that may still be delivered
          # @param most [Integer]
          # @return [Integer] how many were deleted
          def prune(done_before, floor, most)
            update("DELETE FROM #{@processed} WHERE consumer = #{@consumer} AND event_id IN (SELECT event_id " \
                   "FROM #{@processed} WHERE consumer = #{@consumer} AND done_at < #{quote(done_before)} " \
                   "AND entry_ms < #{Integer(floor)} LIMIT #{Integer(most)})")
          end

          # Deletes all rows of the consumer.
          def forget
            [@processed, @lanes].each { |table| update("DELETE FROM #{table} WHERE consumer = #{@consumer}") }
          end

          private

          def quote(value)
            @connection.quote(value)
          end

          def insert(records)
            now = quote(Time.now)
            rows = records.map { |record| "(#{@consumer}, #{quote(record.event_id)}, #{record.ms}, #{now})" }
            update("INSERT INTO #{@processed} (consumer, event_id, entry_ms, done_at) VALUES #{rows.join(", ")} " \
                   "ON CONFLICT (consumer, event_id) DO NOTHING")
          end

          def these(records)
            "consumer = #{@consumer} AND event_id IN (#{records.map { |record| quote(record.event_id) }.join(", ")})"
          end

          # Returns the clause that locks a row. It is empty where the database has one writer, because that is this
          # transaction.
          def lock
            one_writer? ? "" : " FOR SHARE"
          end

          def update(sql)
            @connection.update(sql, "RedisIPC exactly_once")
          end

          def select_values(sql)
            @connection.uncached { @connection.select_values(sql, "RedisIPC exactly_once") }
          end
        end
        private_constant :Statements
      end
    end
  end
end

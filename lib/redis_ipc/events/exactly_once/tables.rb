# frozen_string_literal: true

module RedisIPC
  module Events
    class ExactlyOnce
      # Creates the tables, like the migration of `rails generate redis_ipc:exactly_once`.
      # @api private
      module Tables
        class << self
          # @param record [Class] the class of ActiveRecord with the connection
          # @return [void]
          def create(record)
            processed, lanes = Ledger.tables(record)
            record.connection_pool.with_connection do |connection|
              create_processed(connection, processed)
              create_lanes(connection, lanes)
            end
          end

          private

          def create_processed(connection, name)
            # Creating an index that exists would wait for running transactions.
            return if connection.data_source_exists?(name)

            connection.create_table(name, primary_key: %i[consumer event_id]) do |table|
              table.string :consumer, null: false
              table.string :event_id, null: false
              table.bigint :entry_ms, null: false
              table.datetime :done_at, null: false
            end
            connection.add_index(name, %i[consumer done_at])
          end

          def create_lanes(connection, name)
            return if connection.data_source_exists?(name)

            connection.create_table(name, primary_key: %i[consumer lane]) do |table|
              table.string :consumer, null: false
              table.integer :lane, null: false
              table.bigint :epoch, null: false
            end
          end
        end
      end
      private_constant :Tables
    end
  end
end

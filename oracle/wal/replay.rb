# frozen_string_literal: true

require "json"
require_relative "texts"

module Oracle
  module Wal
    # Makes of events what the tables must hold, as a program would that keeps a copy.
    class Replay
      # What is wrong with an event.
      Wrong = Class.new(StandardError)

      def initialize
        @tables = Hash.new { |all, name| all[name] = [] }
      end

      # @param event [RedisIPC::ChangeEvent]
      # @raise [Wrong]
      def apply(event)
        return told(event) if event.operation == :message

        rows = @tables[event.metadata.values_at(:schema, :table)]
        case event.operation
        when :insert then rows << whole(event)
        when :update then find(rows, event).merge!(event.data)
        when :delete then remove(rows, find(rows, event))
        when :truncate then rows.clear
        end
      end

      # Returns what differs in the database.
      # @param connection [PG::Connection]
      # @param tables [Array<Array(String, String)>] the schemas and the names
      # @return [Array<String>]
      def differences(connection, tables)
        tables.filter_map { |schema, table| difference(connection, schema, table) } +
          (@tables.reject { |_, rows| rows.empty? }.keys - tables).map { |name| "rows of #{name}, which is no table" }
      end

      private

      def whole(event)
        raise Wrong, "an inserted row lacks #{event.metadata[:unchanged]}" if event.metadata[:unchanged]

        event.data.dup
      end

      def remove(rows, gone)
        rows.delete_if { |row| row.equal?(gone) }
      end

      # The row that the event names by its key, or as a whole.
      def find(rows, event)
        key = event.metadata[:identity] || event.old.slice("uid")
        found = rows.select { |row| key.all? { |name, value| same?(row[name], value) } }
        raise Wrong, "#{found.size} rows are #{key} of #{event.type}" unless found.size == 1

        check_old(found.first, event) if event.metadata[:identity].nil?
        found.first
      end

      # With the identity FULL the old row is the one that was there.
      def check_old(row, event)
        different = row.keys.reject { |name| same?(row[name], event.old[name]) }
        raise Wrong, "the old row of #{event.type} differs in #{different}" if different.any?
      end

      # NaN is not equal to itself.
      def same?(one, other)
        one == other || one.inspect == other.inspect
      end

      def told(event)
        return unless event.type == "ddl"

        ddl = JSON.parse(event.data, symbolize_names: true)
        name = ddl[:table]
        rows = @tables[name]
        case ddl
        in { add: column, default: default } then rows.each { |row| row[column] = default }
        in { drop: column } then rows.each { |row| row.delete(column) }
        in { rename: [from, to] } then rows.each { |row| row[to] = row.delete(from) }
        in { to_text: column } then rows.each { |row| row[column] = row[column]&.to_s }
        in { to: to } then @tables[[name.first, to]] = @tables.delete(name)
        end
      end

      def difference(connection, schema, table)
        name = "#{connection.quote_ident(schema)}.#{connection.quote_ident(table)}"
        columns = columns_of(connection, name)
        connection.exec("CREATE TEMP TABLE copy AS SELECT * FROM #{name} LIMIT 0")
        fill(connection, columns, @tables[[schema, table]])
        words = columns.map { |column, type| comparable(connection.quote_ident(column), type) }.join(", ")
        sql = "SELECT %s, r::text FROM (SELECT %s FROM %s EXCEPT ALL SELECT %s FROM %s) r"
        rows = [["missing", name, "copy"], ["too many", "copy", name]].flat_map do |what, one, other|
          connection.exec(format(sql, "'#{what}'", words, one, words, other)).values
        end
        "#{name}: #{rows.first(4)}" if rows.any?
      ensure
        connection.exec("DROP TABLE IF EXISTS copy")
      end

      def columns_of(connection, name)
        connection.exec_params(<<~SQL, [name]).values
          SELECT attname, format_type(atttypid, NULL) FROM pg_attribute
          WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum
        SQL
      end

      def comparable(column, type)
        type.start_with?("json") ? "to_jsonb(#{column})" : "#{column}::text"
      end

      def fill(connection, columns, rows)
        names = columns.map(&:first)
        rows.each do |row|
          raise Wrong, "a row has #{row.keys}, and the table #{names}" unless row.keys.sort == names.sort

          places = columns.each_index.map { |index| "$#{index + 1}" }
          values = columns.map { |column, type| Texts.of(row[column], type) }
          connection.exec_params("INSERT INTO copy VALUES (#{places.join(", ")})", values)
        end
      end
    end
  end
end

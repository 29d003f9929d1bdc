# frozen_string_literal: true

require_relative "decoding"

module Oracle
  module Wal
    # Compares events with what another decoder says, change by change and value by value.
    class Opinions
      # Types whose names, without what was said of their length, mean a length of 1.
      LENGTHS = { "character" => "bpchar", "bit" => "varbit" }.freeze

      # @param via_root [Boolean] whether changes of partitions are published as those of their root
      def initialize(connection, via_root:)
        @connection = connection
        @via_root = via_root
        @values = Hash.new { |all, type| all[type] = [] }
      end

      # @param events [Array<RedisIPC::ChangeEvent>]
      # @param changes [Array<Decoding::Change>]
      # @return [Array<String>] what differs
      def differences(events, changes)
        changes = told(changes)
        came = Hash.new(-1)
        events.zip(changes) do |event, change|
          index = came[change.xid] += 1 if change&.xid
          different = change ? difference(event, change, index) : "nothing"
          return ["#{event.type} at #{event.metadata[:lsn]}: the other decoder says #{different}"] if different
        end
        missing = changes.drop(events.size)
        missing.empty? ? values : ["#{missing.size} changes did not come, as #{missing.first}"]
      end

      private

      # The other decoder knows no publication. Partitions are either left out or all there is of a table.
      def told(changes)
        changes.reject { |change| change.operation == :truncate && unpublished?(change.table) }
      end

      def unpublished?(table)
        kind, is_partition = *kinds[table]
        @via_root ? is_partition == "t" : kind == "p"
      end

      def kinds
        @connection.exec("SELECT nspname, relname, relkind, relispartition FROM pg_class c " \
                         "JOIN pg_namespace n ON n.oid = relnamespace").values.to_h { |row| [row[0, 2], row[2..]] }
      end

      def difference(event, change, index)
        mine = [event.operation, name(event), event.metadata[:lsn], event.transaction&.index]
        other = [change.operation, published(change.table), change.lsn, index]
        return "#{other}, and not #{mine}" unless mine == other
        return "the transaction #{change.xid}" if event.transaction&.id != change.xid
        return (change.text unless change.text == event.data) if event.operation == :message

        rows(event, change)
      end

      def name(event)
        event.operation == :message ? event.type : event.metadata.values_at(:schema, :table)
      end

      def published(table)
        @via_root && table.is_a?(Array) ? [table.first, table.last.sub(/\Aparted_.*/, "parted")] : table
      end

      def rows(event, change)
        old = event.old
        # It does not tell NULLs of old rows.
        old = old.compact if old
        new = event.data
        # What was not written it does not know; the old row may have it.
        kept = change.unchanged.to_a - event.metadata[:unchanged].to_a
        new = new.except(*kept) if new
        return "no #{kept}" unless kept.all? { |column| event.old&.key?(column) }

        columns(old, change.old) || columns(new, change.new)
      end

      def columns(mine, other)
        return "#{other.inspect}, and not #{mine.inspect}" unless names(mine) == names(other)

        other&.each { |column, (type, text)| @values[type] << [Texts.of(mine[column], type), text, column] }
        nil
      end

      def names(row)
        row&.keys&.sort
      end

      # PostgreSQL compares the values.
      def values
        @values.flat_map do |type, triples|
          type = LENGTHS.fetch(type, type)
          as = type.start_with?("json") && !type.end_with?("[]") ? "jsonb" : "#{type}::text"
          list = PG::TextEncoder::Array.new
          rows = @connection.exec_params(<<~SQL, triples.transpose.map { |texts| list.encode(texts) }).values
            SELECT '#{type.gsub("'", "''")}', * FROM unnest($1::text[], $2::text[], $3::text[]) AS x(mine, other, name)
            WHERE mine::#{as} IS DISTINCT FROM other::#{as}
          SQL
          rows.first(3).map { |row| "values: #{row}" }
        end
      ensure
        @values.clear
      end
    end
  end
end

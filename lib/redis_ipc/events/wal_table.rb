# frozen_string_literal: true

require "json"

module RedisIPC
  module Events
    # A table of PostgreSQL, read from the core's description. It reads the rows of the table. It is frozen.
    # @api private
    class WalTable
      # The most tables that are cached in a Ractor.
      MOST = 1_000
      private_constant :MOST

      class << self
        # @param entry [Native::StreamEvent, EntryFields]
        # @return [WalTable, nil] nil for a message
        def of(entry)
          known = (Ractor.current[:redis_ipc_wal_tables] ||= {})
          # The core numbers the tables. Elsewhere the description identifies them.
          number = entry.table_number
          known[number] || remember(known, number, entry.field("table")) if number
        end

        private

        def remember(known, number, description)
          known.clear if known.size >= MOST
          known[number] = new(JSON.parse(description))
        end
      end

      # @return [String]
      attr_reader :schema
      # @return [String]
      attr_reader :name
      # @return [Array<String>] the names of its columns
      attr_reader :names

      def initialize(described)
        @schema, @name, @identity, columns = described.values_at("schema", "table", "identity", "columns")
        [@schema, @name, @identity].each(&:freeze)
        @names = columns.map { |name, _| -name }.freeze
        @keys = @names.zip(columns).filter_map { |name, (_, _, is_key)| name if is_key }.freeze
        read_types(columns.map { |_, type_id| type_id })
        freeze
      end

      # @return [Boolean] whether a key identifies its rows, and not the whole row
      def key?
        !@keys.empty? && %w[default index].include?(@identity)
      end

      # @return [Array<String>] the columns of the key
      def keys
        key? ? @keys : []
      end

      # @return [String] the name, with the schema if that is not "public"
      def title
        schema == "public" ? name : "#{schema}.#{name}"
      end

      # @param entry [Native::StreamEvent, EntryFields]
      # @param field [String] the name of the field with the row
      # @return [Hash{String => Object}, nil] the values that the log has; nil if there is no such field
      def row(entry, field)
        row = entry.row(field, names, @codes)
        return row if row.nil? || @others.empty?

        @others.each do |name, type_id|
          text = row[name]
          row[name] = WalValues.read(type_id, text) if text
        end
        row
      end

      # @param row [Hash{String => Object}]
      # @return [Array<String>] the columns that the log left out
      def missing(row)
        row.size == names.size ? [] : names - row.keys
      end

      # @param entry [Native::StreamEvent, EntryFields]
      # @return [Hash{String => Object}, nil] the old key, if that is all that the log has of the old row
      def key_of(entry)
        row(entry, "key")&.slice(*@keys)
      end

      private

      # Finds out how the values are read: by a letter for each column, or here, by the type.
      def read_types(types)
        @codes = types.map { |type_id| WalValues.code(type_id) }.join.freeze
        others = names.zip(types).select { |_, type_id| WalValues.code(type_id) == WalValues::OTHER }
        @others = others.each(&:freeze).freeze
      end
    end
    private_constant :WalTable
  end
end

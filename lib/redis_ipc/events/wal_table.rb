# frozen_string_literal: true

require "json"

module RedisIPC
  module Events
    # A table of PostgreSQL, read from the core's description. It reads the rows of the table. It is frozen.
    # @api private
    class WalTable
      # The most tables that are cached in a Ractor.
      MOST = 1_000
      # The kinds of values: "n" for NULL and "t" for text. A third kind, "u", marks a value that was left out, because
      # it did not change and is stored separately (TOAST).
      NULL = 110
      TEXT = 116
      # The number of bytes before the values of a row, and before the text of a value.
      HEAD = 2
      SIZE = 4
      private_constant :MOST, :NULL, :TEXT, :HEAD, :SIZE

      class << self
        # @param description [String] JSON
        # @return [WalTable]
        def of(description)
          known = (Ractor.current[:redis_ipc_wal_tables] ||= {})
          known[description] || remember(known, description)
        end

        private

        def remember(known, description)
          known.clear if known.size >= MOST
          known[description] = new(JSON.parse(description))
        end
      end

      # @return [String]
      attr_reader :schema
      # @return [String]
      attr_reader :name
      # @return [Array<String>] the names of its columns
      attr_reader :names

      def initialize(described)
        @schema, @name, @identity, @columns = described.values_at("schema", "table", "identity", "columns")
        @columns.each { |column| column.each(&:freeze).freeze }
        @keys = @columns.filter_map { |name, _, is_key| name if is_key }.freeze
        @names = @columns.map(&:first).freeze
        [@schema, @name, @identity, @columns].each(&:freeze)
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

      # @param tuple [String] a row as in the log
      # @return [Hash{String => Object}] the values that the log has
      def row(tuple)
        at = HEAD
        @columns.each_with_object({}) do |(name, type_id), row|
          kind = tuple.getbyte(at)
          at += 1
          row[name] = nil if kind == NULL
          next unless kind == TEXT

          size = tuple.unpack1("N", offset: at)
          row[name] = WalValues.read(type_id, tuple.byteslice(at + SIZE, size))
          at += SIZE + size
        end
      end

      # @param row [Hash{String => Object}]
      # @return [Array<String>] the columns that the log left out
      def missing(row)
        row.size == names.size ? [] : names - row.keys
      end

      # @param tuple [String] a row of which the log has only the key
      # @return [Hash{String => Object}]
      def key_of(tuple)
        row(tuple).slice(*@keys)
      end
    end
    private_constant :WalTable
  end
end

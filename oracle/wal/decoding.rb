# frozen_string_literal: true

require "strscan"
require_relative "texts"

module Oracle
  module Wal
    # What another decoder says of the same log: PostgreSQL's own plugin test_decoding, with a slot of its own.
    class Decoding
      SLOT = "other"
      # A change. `old` and `new` have the type and the text of each column; `text` is that of a message, and
      # `xid` nil if that is outside of transactions.
      Change = Struct.new(:operation, :table, :old, :new, :unchanged, :text, :xid, :lsn, keyword_init: true)
      NAME = /"(?:[^"]|"")*"|[^\s.:",]+/
      TYPE = /\[((?:[^\[\]]|\[\])+)\]:/
      QUOTED = /B?'((?:[^']|'')*)'/m
      private_constant :NAME, :TYPE, :QUOTED

      # @param connection [PG::Connection]
      def initialize(connection)
        @connection = connection
        connection.exec("SELECT pg_create_logical_replication_slot('#{SLOT}', 'test_decoding')")
      end

      # Returns what has happened since the last call.
      # @return [Array<Change>]
      def changes
        rows = @connection.exec("SELECT lsn, xid, data FROM pg_logical_slot_get_changes('#{SLOT}', NULL, NULL, " \
                                "'include-xids', '0', 'skip-empty-xacts', '1')").values
        rows.reject { |_, _, data| %w[BEGIN COMMIT].include?(data) }.flat_map do |lsn, xid, data|
          read(data).each do |change|
            change.xid = data.start_with?("message: transactional: 0") ? nil : xid.to_i
            change.lsn = lsn
          end
        end
      end

      private

      def read(data)
        scanner = StringScanner.new(data)
        if scanner.skip(/message: transactional: \d prefix: (.*?), sz: \d+ content:/)
          return [Change.new(operation: :message, table: scanner[1], text: scanner.rest)]
        end

        scanner.skip(/table /) || raise("test_decoding has said #{data}")
        tables = [table(scanner)]
        tables << table(scanner) while scanner.skip(/, /)
        scanner.skip(/: (\w+): ?/) || raise("test_decoding has said #{data}")
        operation = scanner[1].downcase.to_sym
        return tables.map { |name| Change.new(operation: operation, table: name) } if operation == :truncate

        [row(operation, tables.first, scanner)]
      end

      def table(scanner)
        names = [name(scanner)]
        scanner.skip(/\./)
        names << name(scanner)
      end

      def name(scanner)
        word = scanner.scan(NAME)
        word.start_with?('"') ? word[1..-2].gsub('""', '"') : word
      end

      def row(operation, table, scanner)
        change = Change.new(operation: operation, table: table, unchanged: [])
        change.old = columns(scanner, change) if scanner.skip(/old-key: /)
        scanner.skip(/new-tuple: /)
        return change if scanner.skip(/\(no-tuple-data\)/)

        operation == :delete ? change.old = columns(scanner, change) : change.new = columns(scanner, change)
        raise "test_decoding has said more: #{scanner.rest}" unless scanner.eos?

        change
      end

      def columns(scanner, change)
        found = {}
        until scanner.eos? || scanner.check(/new-tuple: /)
          column = name_of_column(scanner)
          scanner.skip(TYPE)
          type = scanner[1]
          if scanner.skip(/unchanged-toast-datum/)
            change.unchanged << column
          else
            found[column] = [type, value(scanner)]
          end
          scanner.skip(/ /)
        end
        found
      end

      def name_of_column(scanner)
        word = scanner.scan(/"(?:[^"]|"")*"|[^\[]+/)
        word.start_with?('"') ? word[1..-2].gsub('""', '"') : word
      end

      def value(scanner)
        return scanner[1].gsub("''", "'") if scanner.scan(QUOTED)

        text = scanner.scan(/\S+/)
        text unless text == "null"
      end
    end
  end
end

# frozen_string_literal: true

module RedisIPC
  module Events
    # Reads changes from PostgreSQL's log. It is frozen.
    # @api private
    class WalFormat
      include SourceFormat

      OPERATIONS = { "I" => :insert, "U" => :update, "D" => :delete, "T" => :truncate, "M" => :message }.freeze
      # What is told only where it is so.
      MARKS = { snapshot: "snapshot", in_snapshot: "in_snapshot", cascade: "cascade",
                restart_identity: "restart" }.freeze
      private_constant :OPERATIONS, :MARKS

      # @return [String] the database and the slot
      attr_reader :stream

      # @param stream [String] the database and the slot
      # @param by [String, nil] the column that holds the key; nil means the replica identity
      def initialize(stream, by: nil)
        @stream = stream
        @by = by
        freeze
      end

      # @return [String]
      def source_of(_entry)
        stream
      end

      def kind
        :wal
      end

      # @param entry [Native::StreamEvent, EntryFields]
      # @return [Symbol]
      def operation(entry)
        OPERATIONS.fetch(entry.field("op"))
      end

      def guarantee
        :at_least_once
      end

      # @return [String] the position of the commit; for a message outside of transactions its own position
      def position(entry)
        entry.field("tx")&.then { |told| told.split(" ", 3)[1] } || entry.field("lsn")
      end

      # @return [String] the table and the operation, such as `"accounts.insert"`; for a message its prefix
      def type(entry)
        entry.field("prefix") || "#{table(entry).title}.#{operation(entry)}"
      end

      # @param entry [Native::StreamEvent, EntryFields]
      # @return [String, nil]
      def key(entry)
        values = identity(entry)&.values
        return if values.nil? || values.empty?

        values.size == 1 ? values.first.to_s : JSON.generate(values.map(&:to_s))
      end

      # @param entry [Native::StreamEvent, EntryFields]
      # @return [Hash{Symbol => Object}]
      def metadata(entry)
        { lsn: entry.field("lsn"), xid: transaction(entry)&.id, **of_kind(entry) }.compact
      end

      # @param entry [Native::StreamEvent, EntryFields]
      # @return [Hash{String => Object}, String, nil]
      def data(entry)
        table = table(entry) or return entry.field("content")
        after(entry, table)&.freeze
      end

      # @param entry [Native::StreamEvent, EntryFields]
      # @return [Hash{String => Object}, nil]
      def old(entry)
        table = table(entry) or return
        (table.row(entry, "old") || table.key_of(entry))&.freeze
      end

      # @param entry [Native::StreamEvent, EntryFields]
      # @return [Transaction, nil]
      def transaction(entry)
        xid, commit, index, last, committed, first = entry.field("tx")&.split
        Transaction.new(xid.to_i, commit, index.to_i, [first == "1", last == "1"], committed.to_i) if xid
      end

      private

      def table(entry)
        WalTable.of(entry)
      end

      # Returns the new row. A value that the log leaves out because it did not change is taken from the old row, if the
      # log has that.
      def after(entry, table)
        row = table.row(entry, "new") or return
        missing = table.missing(row)
        before = table.row(entry, "old") unless missing.empty?
        before ? row.merge(before.slice(*missing)).slice(*table.names) : row
      end

      def of_kind(entry)
        table = table(entry)
        return { prefix: entry.field("prefix"), transactional: !entry.field("tx").nil? } if table.nil?

        { schema: table.schema, table: table.name, identity: identity(entry), unchanged: unchanged(entry, table),
          **MARKS.filter_map { |mark, field| [mark, true] if entry.field(field) }.to_h }
      end

      # @return [Hash{String => Object}, nil] the columns that identify the row
      def identity(entry)
        table = table(entry) or return
        names = @by ? [@by] : table.keys
        row = [old(entry), after(entry, table)].compact.find { |one| names.all? { |name| one.key?(name) } }
        row.slice(*names) unless row.nil? || names.empty?
      end

      def unchanged(entry, table)
        missing = after(entry, table)&.then { |row| table.missing(row) }
        missing unless missing.nil? || missing.empty?
      end
    end
    private_constant :WalFormat
  end
end

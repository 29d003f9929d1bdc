# frozen_string_literal: true

module RedisIPC
  # Makes what is written into a stream in tests.
  module Events
    # Makes the entries that the core would write of changes of PostgreSQL's log.
    # @api private
    module ForwardedEntries
      class << self
        # @param forwarding [Forwarding]
        # @param event [ChangeEvent]
        # @param named [Array(String, String)] the key and the type that the class names in Ruby
        # @return [Array<Array(String, String)>] the fields
        def fields(forwarding, event, named)
          key = forwarding.keys? ? named.first : key(forwarding.core[:key], event)
          type = forwarding.types? ? named.last : type(forwarding.core, event)
          data = Native.dump(Plain.of(event.data))
          { EntryFormat::TYPE => type, EntryFormat::KEY => key, EntryFormat::DATA => data,
            EntryFormat::CHANGE => Native.dump(change(event)) }.compact.to_a
        end

        private

        def key(columns, event)
          return event.key if columns.nil?

          values = columns.map { |name| column(event, name) }
          return values.first&.to_s if values.size == 1

          JSON.generate(values.map(&:to_s)) unless values.include?(nil)
        end

        def type(core, event)
          core[:type_column] ? column(event, core[:type_column])&.to_s : core.fetch(:type, event.type)
        end

        # The old value, where it is known.
        def column(event, name)
          [event.old, event.data].grep(Hash).find { |row| row.key?(name) }&.fetch(name)
        end

        def change(event)
          kept = event.metadata.slice(:schema, :table, :lsn, :prefix).transform_keys(&:name)
          { "operation" => event.operation.name, "old" => Plain.of(event.old), **kept,
            **transaction(event.transaction) }.compact
        end

        def transaction(told)
          { "xid" => told.id, "commit_lsn" => told.commit_lsn, "index" => told.index, "first" => told.first?,
            "last" => told.last?, "committed_us" => told.committed_us }
        end
      end
    end
  end
end

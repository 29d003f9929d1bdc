# frozen_string_literal: true

module RedisIPC
  module Events
    # Reads keyspace notifications. It is frozen.
    # @api private
    class KeyFormat
      include SourceFormat

      # The names of the fields that the core writes.
      KEY = "key"
      EVENT = "event"
      DB = "db"
      VALUE = "value"
      STATE = "value_state"
      # After these events the key no longer exists.
      GONE = %w[del expired evicted rename_from move_from].freeze
      private_constant :GONE

      def initialize
        freeze
      end

      # @param entry [Native::StreamEvent, EntryFields]
      # @return [String] the database, `"db0"`
      def source_of(entry)
        "db#{entry.field(DB)}"
      end

      def kind
        :keyspace
      end

      # @param entry [Native::StreamEvent, EntryFields]
      # @return [Symbol]
      def operation(entry)
        GONE.include?(entry.field(EVENT)) ? :delete : :update
      end

      def guarantee
        :at_most_once
      end

      # @param entry [Native::StreamEvent, EntryFields]
      # @return [String] what happened, such as `"expired"`
      def type(entry)
        entry.field(EVENT)
      end

      # @param entry [Native::StreamEvent, EntryFields]
      # @return [String]
      def key(entry)
        entry.field(KEY)
      end

      # @param entry [Native::StreamEvent, EntryFields]
      # @return [Hash{Symbol => Object}]
      def metadata(entry)
        { event: entry.field(EVENT), value_state: entry.field(STATE)&.to_sym, node: entry.node }.compact
      end

      # @param entry [Native::StreamEvent, EntryFields]
      # @return [Hash{String => String}, nil] the value, if it was read
      def data(entry)
        value = entry.field(VALUE)
        { VALUE => value }.freeze if value
      end
    end
    private_constant :KeyFormat
  end
end

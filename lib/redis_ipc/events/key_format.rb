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
      TYPE = "value_type"
      FIELDS = "fields"
      # After these events the key no longer exists.
      GONE = %w[del expired evicted rename_from move_from].freeze
      # The scores that are no numbers in Ruby's notation.
      INFINITE = { "inf" => Float::INFINITY, "-inf" => -Float::INFINITY }.freeze
      private_constant :GONE, :INFINITE

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
        { event: entry.field(EVENT), fields: entry.field(FIELDS)&.then { |list| TextList.read(list) },
          value_state: entry.field(STATE)&.to_sym, node: entry.node }.compact
      end

      # @param entry [Native::StreamEvent, EntryFields]
      # @return [Hash{String => Object}, nil] the value, if it was read: a String, an Array of a list or a set, a Hash
      #   of a hash, and a Hash of members and their scores of a sorted set
      def data(entry)
        value = entry.field(VALUE) or return
        type = entry.field(TYPE)
        { VALUE => type ? typed(type, TextList.read(value)) : value }.freeze
      end

      private

      def typed(type, texts)
        case type
        when "hash" then texts.each_slice(2).to_h.freeze
        when "zset" then texts.each_slice(2).to_h.transform_values { |score| INFINITE[score] || score.to_f }.freeze
        else texts
        end
      end
    end
    private_constant :KeyFormat
  end
end

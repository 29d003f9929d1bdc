# frozen_string_literal: true

module RedisIPC
  # (see file:docs/events.md)
  module Events
    # Has what the core's event has, where that is not at hand: in another process, after Marshal, in tests.
    # @!attribute node [String, nil] the server's address, of a live event
    # @!attribute redelivered [Boolean, nil] whether it may have run before though this is the first attempt
    # @api private
    StoredEvent = Struct.new(:id, :ms, :fields, :deliveries, :received_ms, :fence, :key_hash, :lane, :redelivered,
                             :node) do
      include EntryFields

      # @return [Boolean]
      def redelivered?
        redelivered || deliveries > 1
      end

      # @return [nil] it is an event, and no loss in the place of one
      def loss; end
    end
    private_constant :StoredEvent

    # The names of what it has.
    # @api private
    STORED = StoredEvent.members.freeze

    class << self
      # @param values [Array] in the order of {STORED}
      # @return [StoredEvent]
      # @api private
      def stored(values)
        StoredEvent.new(*values).freeze
      end
    end
  end
end

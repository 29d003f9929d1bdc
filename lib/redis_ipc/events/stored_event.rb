# frozen_string_literal: true

module RedisIPC
  # (see file:docs/events.md)
  module Events
    # Replaces the core's event where that does not exist: in another process, after Marshal, in tests.
    # @!attribute node [String, nil] for a live event, the server's address
    # @!attribute redelivered [Boolean, nil] whether it may have run before although this is the first attempt
    # @api private
    StoredEvent = Struct.new(:id, :ms, :fields, :deliveries, :received_ms, :fence, :key_hash, :lane, :redelivered,
                             :node) do
      include EntryFields

      # @return [Boolean]
      def redelivered?
        redelivered || deliveries > 1
      end

      # @return [nil] this is an event and not a loss
      def loss; end
    end
    private_constant :StoredEvent

    # The names of its members.
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

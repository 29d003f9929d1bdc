# frozen_string_literal: true

module RedisIPC
  module Events
    # The position of a group in its stream: the last entry that was delivered to it. With an order, it is the position
    # up to which everything is done. All processes of the group share it.
    #
    # With partitions it is the position in the partition in which the group has come least far, of those that it has
    # not read to their ends. Ids are times, so in the other partitions, too, events that were published before that are
    # handled.
    class Checkpoint
      include Undumpable

      # @param engine [Native::EventConsumer]
      # @param where [String] the stream and the group
      # @api private
      def initialize(engine, where)
        @engine = engine
        @where = where
      end

      # @return [String] the id of the entry that was last delivered to the group, `"ms-sequence"`; with an order, the
      #   checkpoint of the slowest lane
      # @raise [CallError] if Redis cannot be reached or refuses
      def position
        FiberWaker.outside { @engine.progress[1] }
      end

      # Moves the group. From now on all its processes get what follows the new position. Other processes notice that
      # with the next event, or within 10 s. Pending entries stay pending, and are handled as well. Some of the entries
      # that follow the new position may be handled once more.
      #
      # With an order nothing stays pending: events before the new position that are not done are not handled.
      # @param to [Time, String, Symbol] `:beginning`, `:new` (the end), a Time (what was added since then), or an id
      #   (the entry after it)
      # @return [String] the new position; with partitions, which each have their own, as {#position}
      # @raise [ConfigurationError] if it is none of these
      # @raise [CallError] if Redis cannot be reached or refuses
      # @example
      #   BillingEvents.checkpoint.seek(Time.now - 3600)
      def seek(to)
        raise ConfigurationError, "seek needs a position: :beginning, :new, a Time or an id" if to.nil?

        position = Words.position("the position to seek", to)
        FiberWaker.outside { @engine.seek(position) }
      end

      # @return [String]
      def inspect
        LogText.line("#<#{self.class} of #{@where}>")
      end
    end
  end
end

# frozen_string_literal: true

module RedisIPC
  module Events
    # The position of a group in its stream: what was delivered to it last; with an order, up to where everything is
    # done. All processes of the group share it.
    #
    # With partitions it is the position in that partition in which the group has come least far, of those that it has
    # not read to their ends. Ids are times, so events that were published before that are handled in the others, too.
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

      # Moves the group: what follows the new position is delivered from now on, to all its processes. Other processes
      # notice that with the next event, or within 10 s. Entries that are pending stay so, and are handled as well.
      # Of those that follow the new position, some may be handled once more.
      #
      # With an order nothing stays pending: what was not done before the new position is not handled.
      # @param to [Time, String, Symbol] `:beginning`, `:new` (the end), a Time (what came since then), or an id (the
      #   entry after it)
      # @return [String] the new position; with partitions, of which each has its own, as {#position}
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

# frozen_string_literal: true

module RedisIPC
  module Events
    # The events that a group gave up on, the oldest first. Iterating fetches them from Redis a page at a time.
    #
    # @example Retry those that failed for one reason
    #   BillingEvents.dead_letters.lazy.select { |letter| letter.reason.include?("ReadTimeout") }.each(&:retry)
    class DeadLetters
      include Undumpable

      include Enumerable

      # @return [String] the group
      attr_reader :group

      # @api private
      def initialize(engine, group, format)
        @engine = engine
        @group = group
        @format = format
      end

      # Yields each letter, the oldest first.
      # @yieldparam letter [DeadLetter]
      # @return [self, Enumerator] an Enumerator without a block
      # @raise [CallError] if Redis cannot be reached or refuses
      def each
        return enum_for(:each) { size } unless block_given?

        rows = Pages.rows { |after, count| @engine.dead_letters(after, count) }
        rows.each { |row| yield DeadLetter.new(@engine, row, @format) }
        self
      end

      # @return [Integer] how many there are now
      # @raise (see #each)
      def size
        FiberWaker.outside { @engine.count_dead_letters }
      end

      # @return [Boolean] whether there are none now
      # @raise (see #each)
      def empty?
        size.zero?
      end

      # @return [String]
      def inspect
        LogText.line("#<#{self.class} of #{@format.source}/#{group}>")
      end
    end
  end
end

# frozen_string_literal: true

module RedisIPC
  module Testing
    # What a group was delivered in a test, and what of that is settled: it is not delivered again by itself.
    # @api private
    class Progress
      # The position before the first entry.
      BEGINNING = "0-0"
      private_constant :BEGINNING

      # @param ordered [Boolean] whether the group has an order
      def initialize(ordered:)
        @ordered = ordered
        @settled = {}
        @lock = Mutex.new
      end

      # @param position [String] of an entry that is delivered, perhaps again
      # @return [void]
      def take(position)
        @lock.synchronize { @settled[position] = false }
      end

      # @param positions [Array<String>]
      # @return [void]
      def settle(positions)
        @lock.synchronize { positions.each { |position| @settled[position] = true } }
      end

      # @param position [String, nil]
      # @return [Boolean] whether all is settled that was delivered up to there, and that was delivered; nil means all
      def settled?(position)
        found = @lock.synchronize { @settled.dup }
        return false unless position ? found.key?(position) : found.any?

        unsettled(found).none? { |one| position.nil? || !after?(one, position) }
      end

      # @return [Array<String>] the positions of what is not settled, the lowest first
      def unsettled(found = @lock.synchronize { @settled.dup })
        sorted(found.reject { |_, settled| settled }.keys)
      end

      # @return [Array(String, String, Integer, String)] as {Events::Runner#progress}
      def to_a
        found = @lock.synchronize { @settled.dup }
        all = sorted(found.keys)
        open = unsettled(found)
        last = all.last || BEGINNING
        floor = open.empty? ? last : all.take_while { |one| one != open.first }.last || BEGINNING
        [last, @ordered ? floor : last, open.size, floor]
      end

      private

      def sorted(positions)
        positions.sort_by { |position| parts(position) }
      end

      def after?(one, other)
        (parts(one) <=> parts(other)).positive?
      end

      def parts(position)
        position.split("-").map(&:to_i)
      end
    end
    private_constant :Progress
  end
end

# frozen_string_literal: true

module RedisIPC
  # The dead letters of a group, the oldest first. They are fetched from Redis a page at a time, while they are
  # iterated.
  #
  # @example Try those again that were delivered too often
  #   stream.dead_letters.lazy.select { |letter| letter.reason.start_with?("delivered") }.each(&:retry)
  class DeadLetters
    include Undumpable

    include Enumerable

    # @return [String] the group
    attr_reader :group

    # @api private
    def initialize(engine, group)
      @engine = engine
      @group = group
    end

    # Yields each letter, the oldest first.
    # @yieldparam letter [DeadLetter]
    # @return [self, Enumerator] an Enumerator without a block
    # @raise [CallError] if Redis cannot be reached or refuses
    def each
      return enum_for(:each) { size } unless block_given?

      rows = Pages.rows { |after, count| @engine.dead_letters(group, after, count) }
      rows.each { |row| yield DeadLetter.new(@engine, group, row) }
      self
    end

    # @return [Integer] how many there are now
    # @raise (see #each)
    def size
      FiberWaker.outside { @engine.count_dead_letters(group) }
    end

    # @return [Boolean] whether there are none now
    # @raise (see #each)
    def empty?
      size.zero?
    end

    # @return [String]
    def inspect
      "#<#{self.class} of #{group}>"
    end
  end
end

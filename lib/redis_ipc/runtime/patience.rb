# frozen_string_literal: true

module RedisIPC
  # Paces attempts while Redis is away: the pauses are short enough to be back soon, and not every attempt is reported.
  # @api private
  class Patience
    # Seconds between attempts. They double from the first to the longest, less up to half at random, so that not all
    # processes come back at the same moment.
    FIRST = 0.5
    LONGEST = 5
    # Of the attempts that fail for the same reasons, the 1st, 2nd, 4th and so on are reported, and later each of so
    # many.
    SILENCE = 128
    private_constant :FIRST, :LONGEST, :SILENCE

    # @param longest [Numeric] seconds between two attempts, at most
    def initialize(longest: LONGEST)
      @longest = longest
    end

    # Reports why an attempt failed, if a report is due, and waits until the next attempt is due.
    # @param reasons [Array<String>]
    # @yieldparam reason [String]
    # @return [void]
    def failed(reasons, &tell)
      @attempts = reasons == @reasons ? @attempts + 1 : 1
      @reasons = reasons
      reasons.each(&tell) if told?
      sleep([FIRST * (2**[@attempts - 1, 10].min), @longest].min * (1 - (rand / 2)))
    end

    private

    def told?
      (@attempts & (@attempts - 1)).zero? || (@attempts % SILENCE).zero?
    end
  end
  private_constant :Patience
end

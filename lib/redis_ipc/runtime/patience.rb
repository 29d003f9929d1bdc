# frozen_string_literal: true

module RedisIPC
  # Waiting for a Redis that is away: soon back when it is, without telling of every attempt.
  # @api private
  class Patience
    # Seconds between attempts: doubled from the first to the longest, less up to half of it, so that not all processes
    # come back at once.
    FIRST = 0.5
    LONGEST = 5
    # Of attempts that fail for the same reasons the 1st, 2nd, 4th and so on are told of, later each of so many.
    SILENCE = 128
    private_constant :FIRST, :LONGEST, :SILENCE

    # @param longest [Numeric] seconds between two attempts, at most
    def initialize(longest: LONGEST)
      @longest = longest
    end

    # Tells why an attempt failed, if it is time to, and waits until the next is due.
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

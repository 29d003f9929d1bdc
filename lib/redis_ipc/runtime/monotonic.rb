# frozen_string_literal: true

module RedisIPC
  # Reads the monotonic clock, which nobody sets.
  # @api private
  module Monotonic
    # A wait of this many seconds or more has no end.
    ENDLESS = 1e9
    private_constant :ENDLESS

    # @param timeout [Numeric, nil]
    # @return [Float, nil] the seconds to wait; nil to wait without end
    # @raise [ArgumentError] if it is no number of seconds
    def self.wait_time(timeout)
      return if timeout.nil?

      valid = timeout.is_a?(Numeric) && timeout.real? && !(timeout.respond_to?(:nan?) && timeout.nan?)
      raise ArgumentError, "the timeout must be a number of seconds, got #{timeout.inspect}" unless valid

      timeout.to_f if timeout < ENDLESS
    end

    # @param timeout [Numeric, nil] seconds
    # @param most [Numeric]
    # @return [Float, nil]
    # @raise [ArgumentError] if it is no number of seconds, not over 0, or over the most
    def self.positive(timeout, most: Float::INFINITY)
      return if timeout.nil?
      return timeout.to_f if timeout.is_a?(Numeric) && timeout.real? && timeout.positive? && timeout <= most

      limit = " and at most #{most}" if most.finite?
      raise ArgumentError, "the timeout must be a number of seconds over 0#{limit}, got #{timeout.inspect}"
    end

    # @param timeout [Numeric] seconds
    # @return [Float] the same, or a number that stands for waiting without end
    # @raise [ArgumentError] if it is no number of seconds, or negative
    def self.finite(timeout)
      unless timeout.is_a?(Numeric) && timeout.real? && timeout >= 0
        raise ArgumentError, "the timeout must be a number of seconds, at least 0, got #{timeout.inspect}"
      end

      [timeout, ENDLESS].min.to_f
    end

    # @return [Float] seconds since some moment in the past
    def self.now
      Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end
  end
  private_constant :Monotonic
end

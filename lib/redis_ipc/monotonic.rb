# frozen_string_literal: true

module RedisIPC
  # The clock that nobody sets, for what takes how long.
  # @api private
  module Monotonic
    # @return [Float] seconds since some moment in the past
    def self.now
      Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end
  end
  private_constant :Monotonic
end

# frozen_string_literal: true

module RedisIPC
  class Admin
    # For how long an instance has shown no sign of life. One or two signs may be late.
    # @api private
    module Silence
      # So many signs of life are missed, and so many seconds have passed, before an instance is called silent.
      MISSED = 3
      LEAST = 3.0
      # Later than that it is silent, however seldom it shows itself.
      MOST = 25.0
      # How often an instance shows itself that takes no requests, or whose lease is long.
      SELDOM = 10.0
      private_constant :MISSED, :LEAST, :MOST

      # @param age [Float] seconds since its last sign of life
      # @param alive [Boolean] whether it counts as alive yet
      # @param every [Float, nil] how often it shows itself
      # @return [Float, nil] nil while it is not silent
      def self.of(age, alive:, every: nil)
        age = age.clamp(0.0, nil)
        age if !alive || age >= ((every || SELDOM) * MISSED).clamp(LEAST, MOST)
      end
    end
    private_constant :Silence
  end
end

# frozen_string_literal: true

module Chaos
  # When all processes of a load that comes in pulses ask. They have one clock, that of the machine.
  module Period
    # Seconds from the beginning of one pulse to that of the next.
    SECONDS = 3

    class << self
      # Whether one that lasts so many seconds is under way.
      def pulse?(seconds)
        position < seconds
      end

      # Seconds until the next begins.
      def left
        SECONDS - position
      end

      private

      def position
        Process.clock_gettime(Process::CLOCK_MONOTONIC) % SECONDS
      end
    end
  end
end

# frozen_string_literal: true

module Chaos
  # Divides time into periods for a load that comes in pulses. All processes share the clock of the machine.
  module Period
    # Seconds from the beginning of one pulse to that of the next.
    SECONDS = 3

    class << self
      # Returns whether a pulse of so many seconds is under way.
      def pulse?(seconds)
        position < seconds
      end

      # Returns the seconds until the next pulse.
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

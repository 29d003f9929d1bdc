# frozen_string_literal: true

module Chaos
  module Live
    # What a fault did once.
    # * `calm`: nothing was published meanwhile.
    # * `missing`: how many were sent and not handled, and `outside`: how many of these at no time that was told.
    # * `bounds` of what was told, and `exact`: all of them are exact.
    # * `reconnections`: how often the consumer has subscribed again.
    # * `back`: the seconds from the end of the fault until a message was handled that was published after it.
    # * `gap`: the longest time without a message of a line, in seconds.
    # * `disorder`: how many were handled after a later one of their line, and `again`: how many were handled twice.
    Outcome = Struct.new(:calm, :missing, :outside, :bounds, :exact, :reconnections, :back, :gap, :disorder, :again,
                         keyword_init: true) do
      # Whether it is known how many can be missing.
      def bounded?
        !bounds.include?(nil)
      end

      def told
        bounds.compact.sum
      end

      # Returns how many were told for one that was missing.
      def ratio
        told.fdiv(missing) if bounded? && missing.positive?
      end

      # Returns what is wrong with what was told, in words.
      def untruth
        return unless bounded?

        says = "#{missing} were missing, told were #{exact ? "exactly" : "at most"} #{told}"
        says if told < missing || (exact && !bounds.empty? && told != missing)
      end
    end
  end
end

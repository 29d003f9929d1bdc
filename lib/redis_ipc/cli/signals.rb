# frozen_string_literal: true

module RedisIPC
  module CLI
    # Waits for the signals that end a verb in order.
    # @api private
    class Signals
      ENDS = %w[INT TERM].freeze
      private_constant :ENDS

      def initialize
        @told = Queue.new
      end

      # Ends the wait, as a signal does.
      # @return [void]
      def stop
        @told << nil
      end

      # @return [void]
      def wait
        before = ENDS.to_h { |signal| [signal, trap(signal) { @told << signal }] }
        @told.pop
      ensure
        before&.each { |signal, block| trap(signal, block || "DEFAULT") }
      end
    end
  end
end

# frozen_string_literal: true

module RedisIPC
  module CLI
    # Runs a verb again and again, for `--watch`.
    # @api private
    class Watch
      # @param terminal [Terminal]
      # @param seconds [Float, true] between two looks
      def initialize(terminal, seconds)
        @terminal = terminal
        @seconds = seconds == true ? CommonOptions::WATCH : seconds
      end

      # Runs the block until the process is interrupted. While Redis is away it says so and goes on.
      # @return [void]
      def run
        loop do
          @terminal.clear
          begin
            yield
          rescue CallError => e
            @terminal.warn("redis_ipc: #{LogText.line(e.message)}")
          end
          sleep @seconds
        end
      end
    end
  end
end

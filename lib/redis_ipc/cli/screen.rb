# frozen_string_literal: true

require "io/console"

module RedisIPC
  module CLI
    # A page of a terminal that is drawn again and again, until a key ends it.
    # @api private
    class Screen
      # The other page of the terminal, without a cursor; what was there before comes back at the end.
      ENTER = "\e[?1049h\e[?25l"
      LEAVE = "\e[?25h\e[?1049l"
      QUITS = ["q", "Q", "\u0003", "\u0004"].freeze
      private_constant :ENTER, :LEAVE, :QUITS

      # @param terminal [Terminal]
      # @param seconds [Float] between two drawings; any key draws at once
      def initialize(terminal, seconds)
        @terminal = terminal
        @seconds = seconds
      end

      # @yieldreturn [Array<String>] the lines of the page
      # @return [void]
      def run
        $stdout.write(ENTER)
        $stdin.raw do
          loop do
            draw(yield)
            break if QUITS.include?(key)
          end
        end
      ensure
        $stdout.write(LEAVE)
      end

      private

      # Each line is cleared to its end, so that nothing flickers.
      def draw(lines)
        shown = lines.first(@terminal.rows - 1)
        $stdout.write("\e[H#{shown.map { |line| "#{line}\e[K\r\n" }.join}\e[J")
        $stdout.flush
      end

      # @return [String, nil] the key that was pressed meanwhile
      def key
        $stdin.wait_readable(@seconds) && ($stdin.getc || "q")
      end
    end
  end
end

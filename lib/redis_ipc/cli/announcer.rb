# frozen_string_literal: true

module RedisIPC
  module CLI
    # Says what the command does: what runs on standard output, what fails on standard error.
    # @api private
    class Announcer
      def initialize
        # Standard output may be a pipe or a file, so it is not buffered.
        $stdout.sync = true
      end

      # @param text [String]
      # @return [void]
      def info(text)
        write($stdout, text)
      end

      # @param text [String]
      # @return [void]
      def error(text)
        write($stderr, text)
      end

      private

      def write(output, text)
        # One write keeps the line in one piece.
        output.write("#{text}\n")
      rescue IOError, SystemCallError
        # It is closed, so nobody reads it.
      end
    end
  end
end

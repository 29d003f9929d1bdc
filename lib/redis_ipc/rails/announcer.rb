# frozen_string_literal: true

module RedisIPC
  module OnRails
    # Logs what becomes of the channels; in a process that does nothing else, on standard output too.
    # @api private
    class Announcer
      # Makes it write to standard output too from now on.
      # @return [void]
      def speak_up
        @aloud = true
        # Standard output may be a pipe or a file, so it is not buffered.
        $stdout.sync = true
      end

      # @param text [String]
      # @return [void]
      def info(text)
        say(:info, text)
      end

      # @param text [String]
      # @return [void]
      def error(text)
        say(:error, text)
      end

      private

      def say(severity, text)
        ::Rails.logger&.public_send(severity, text)
        # One write keeps the line in one piece.
        $stdout.write("#{text}\n") if @aloud && !logged_to_stdout?
      rescue IOError, SystemCallError
        # Standard output is closed, so nobody reads it.
      end

      def logged_to_stdout?
        ::Rails.logger && ActiveSupport::Logger.logger_outputs_to?(::Rails.logger, $stdout)
      end
    end
  end
end

# frozen_string_literal: true

module RedisIPC
  module OnRails
    # Says in Rails's log what becomes of the channels; in a process that does nothing else, on standard output too.
    # @api private
    class Announcer
      # From now on it says everything on standard output too.
      # @return [void]
      def speak_up
        @aloud = true
        # As servers do: it may be a pipe, or a file.
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
        # In one write.
        $stdout.write("#{text}\n") if @aloud && !logged_to_stdout?
      rescue IOError, SystemCallError
        # Standard output is closed: whoever read it has gone.
      end

      def logged_to_stdout?
        ::Rails.logger && ActiveSupport::Logger.logger_outputs_to?(::Rails.logger, $stdout)
      end
    end
  end
end

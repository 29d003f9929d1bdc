# frozen_string_literal: true

module RedisIPC
  # Reports an error that no caller is told of.
  # @api private
  module ErrorReport
    class << self
      # Tells subscribers, the logger and `on_error`, and writes a warning if there is neither a logger nor `on_error`.
      # If one of them raises, the others are told all the same.
      # @param place [String] where it happened
      # @param exception [Exception]
      # @param about [Entry, String, nil] the request whose handler raised it
      # @param logger [Object, nil] nil means the one of the process
      # @param on_error [#call, nil]
      # @yield tells subscribers
      def tell(place, exception, logger:, on_error:, about: nil, &publish)
        text = "redis_ipc #{place}: #{LogText.error(exception)}#{request(about)}"
        full = "#{text}#{backtrace(exception, handler: !about.nil?)}"
        logger ||= RedisIPC.configuration.logger
        guard(text, "the executor") do
          RedisIPC.framework.around_callback((about unless about.is_a?(String))) do
            guard(text, "a subscriber", &publish)
            guard(text, "the logger") { logger.error { full } } if logger
            guard(text, "on_error") { on_error.call(exception) } if on_error
          end
        end
        warning(full) unless logger || on_error
      end

      # Logs something that is no error: to standard error if there is no logger.
      # @param text [String]
      # @param logger [Object, nil] nil means the one of the process
      # @return [void]
      def note(text, logger: nil)
        logger ||= RedisIPC.configuration.logger
        logger ? guard(text, "the logger") { logger.warn(text) } : warning(text)
      end

      # @param text [String]
      # @return [nil]
      def warning(text)
        warn text
      rescue IOError, SystemCallError
        # Standard error is closed, so nobody can be told.
      end

      private

      # Returns the backtrace of an exception. Of the gem's own errors, only those that a handler raised have a useful
      # one.
      # @param exception [Exception]
      # @param handler [Boolean] whether a handler raised it
      # @return [String] lines to be put after its message
      def backtrace(exception, handler:)
        lines = exception.backtrace
        return "" if lines.nil? || (!handler && exception.is_a?(Error))

        ["", *RedisIPC.framework.clean_or_whole_backtrace(lines)].join("\n  ")
      rescue StandardError
        # A user's class may raise anything here; the error itself matters more.
        ""
      end

      def request(about)
        case about
        when nil then nil
        when String then " (#{about})"
        else " (request #{LogText.of(about.id)} from #{LogText.of(about.source_group)})"
        end
      end

      def guard(text, whom)
        yield
      rescue SystemExit, SignalException
        raise
      rescue Exception => e # rubocop:disable Lint/RescueException -- a listener that raises must not stop the others
        warning("#{text} (#{whom} raised #{LogText.error(e)} when told of it)")
      end
    end
  end
  private_constant :ErrorReport
end

# frozen_string_literal: true

module RedisIPC
  # Tells the user of an error nobody else hears of.
  # @api private
  module ErrorReport
    class << self
      # Tells subscribers, the logger and `on_error`, and writes a warning where there is neither of the last two. If
      # one of them raises, the others are told all the same.
      # @param place [String] where it happened
      # @param exception [Exception]
      # @param logger [Object, nil]
      # @param on_error [#call, nil]
      # @yield tells subscribers
      def tell(place, exception, logger:, on_error:, &publish)
        text = "redis_ipc #{place}: #{ErrorText.of(exception)}"
        guard(text, "the executor") do
          Execution.callback do
            guard(text, "a subscriber", &publish)
            guard(text, "the logger") { logger.error { text } } if logger
            guard(text, "on_error") { on_error.call(exception) } if on_error
          end
        end
        warning(text) unless logger || on_error
      end

      # @param text [String]
      # @return [nil]
      def warning(text)
        warn text
      rescue IOError, SystemCallError
        # Standard error is closed: nothing is left to tell.
      end

      private

      def guard(text, whom)
        yield
      rescue SystemExit, SignalException
        raise
      rescue Exception => e # rubocop:disable Lint/RescueException -- whoever is told must not stop what tells
        warning("#{text} (#{whom} raised #{ErrorText.of(e)} when told of it)")
      end
    end
  end
  private_constant :ErrorReport
end

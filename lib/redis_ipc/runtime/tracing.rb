# frozen_string_literal: true

module RedisIPC
  # Passes OpenTelemetry's context on where its API is loaded: W3C's `traceparent`, and nothing else.
  # @api private
  module Tracing
    FIELD = "traceparent"
    # Printable ASCII. A `traceparent` of W3C has 55 bytes.
    TEXT = /\A[!-~]{1,128}\z/
    private_constant :FIELD, :TEXT

    class << self
      def available?
        defined?(::OpenTelemetry) && ::OpenTelemetry.respond_to?(:propagation)
      end

      # @return [String, nil] the current context
      def traceparent
        return unless available?

        carrier = {}
        ::OpenTelemetry.propagation.inject(carrier)
        checked(carrier[FIELD])
      rescue StandardError => e
        complain(e)
      end

      # Runs the block in the asker's trace context.
      def continue(traceparent, &block)
        context = context_of(traceparent) if traceparent && available?
        return yield unless context

        ::OpenTelemetry::Context.with_current(context, &block)
      end

      # @param value [Object] a possible trace context
      # @return [String, nil] nil for a value that cannot be one
      def checked(value)
        value if value.is_a?(String) && value.ascii_only? && TEXT.match?(value)
      end

      private

      def context_of(traceparent)
        ::OpenTelemetry.propagation.extract({ FIELD => traceparent })
      rescue StandardError => e
        complain(e)
      end

      # A trace that fails must not break the call.
      def complain(error)
        ErrorReport.warning("redis_ipc: OpenTelemetry raised #{LogText.error(error)}")
      end
    end
  end
  private_constant :Tracing
end

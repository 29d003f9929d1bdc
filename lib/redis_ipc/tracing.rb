# frozen_string_literal: true

module RedisIPC
  # Carries OpenTelemetry's context across, where its API is loaded: W3C's `traceparent`, and nothing else.
  # @api private
  module Tracing
    FIELD = "traceparent"
    private_constant :FIELD

    class << self
      def available?
        defined?(::OpenTelemetry) && ::OpenTelemetry.respond_to?(:propagation)
      end

      # @return [String, nil] the current context
      def traceparent
        return unless available?

        carrier = {}
        ::OpenTelemetry.propagation.inject(carrier)
        header(carrier[FIELD])
      rescue StandardError => e
        complain(e)
      end

      # Runs the block in the context of whoever asked.
      def continue(traceparent, &block)
        context = context_of(traceparent) if traceparent && available?
        return yield unless context

        ::OpenTelemetry::Context.with_current(context, &block)
      end

      private

      def context_of(traceparent)
        ::OpenTelemetry.propagation.extract({ FIELD => traceparent })
      rescue StandardError => e
        complain(e)
      end

      # What is no text is left out.
      def header(value)
        value if value.is_a?(String) && value.valid_encoding?
      end

      # A call is worth more than its trace.
      def complain(error)
        warn "redis_ipc: OpenTelemetry raised #{error.class}: #{error.message}"
        nil
      end
    end
  end
  private_constant :Tracing
end

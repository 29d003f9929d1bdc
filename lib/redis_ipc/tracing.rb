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
        carrier[FIELD]
      end

      # Runs the block in the context of whoever asked.
      def continue(traceparent, &block)
        return yield unless traceparent && available?

        ::OpenTelemetry::Context.with_current(::OpenTelemetry.propagation.extract({ FIELD => traceparent }), &block)
      end
    end
  end
  private_constant :Tracing
end

# frozen_string_literal: true

module RedisIPC
  module OpenTelemetry
    # Reaches OpenTelemetry's tracer and meter.
    # @api private
    class Telemetry
      NAME = "redis_ipc"
      # The names of the durations, by the kind of the span.
      DURATIONS = { client: "rpc.client.call.duration", server: "rpc.server.call.duration",
                    consumer: "messaging.process.duration", producer: "messaging.client.operation.duration" }.freeze
      TEXTS = { client: "How long a call took", server: "How long the handler of a request ran",
                consumer: "How long the handler of an event ran", producer: "How long publishing took" }.freeze
      private_constant :NAME, :DURATIONS, :TEXTS

      # @param traces [Boolean]
      # @param metrics [Boolean]
      def initialize(traces:, metrics:)
        @tracer = tracer(traces)
        @histograms = metrics && ::OpenTelemetry.respond_to?(:meter_provider) ? histograms : {}
      end

      # @param kind [Symbol] `:client`, `:server`, `:consumer` or `:producer`
      # @param name [String] the name of the span
      # @param attributes [Hash{String => Object}] those of the span and of the duration
      # @param more [Hash{String => Object}] further attributes of the span. They may have many values
      # @param links [Array<String>] the `traceparent` of each trace that it belongs to, too
      # @return [Operation]
      def begin(kind, name, attributes, more: {}, links: [])
        span = @tracer.start_span(name, kind: kind, attributes: attributes.merge(more.compact), links: linked(links))
        Operation.new(span, @histograms[DURATIONS.fetch(kind)], attributes)
      end

      # Runs the block. Whatever OpenTelemetry raises must not break the call.
      def guard
        yield
      rescue StandardError => e
        ErrorReport.warning("redis_ipc: OpenTelemetry raised #{LogText.error(e)}")
        nil
      end

      private

      def tracer(traces)
        return ::OpenTelemetry::Trace::Tracer.new unless traces

        ::OpenTelemetry.tracer_provider.tracer(NAME, VERSION)
      end

      def histograms
        meter = ::OpenTelemetry.meter_provider.meter(NAME, version: VERSION)
        DURATIONS.to_h { |kind, name| [name, meter.create_histogram(name, unit: "s", description: TEXTS[kind])] }
      end

      def linked(traceparents)
        return if traceparents.empty?

        traceparents.filter_map do |text|
          context = ::OpenTelemetry.propagation.extract({ "traceparent" => text })
          found = ::OpenTelemetry::Trace.current_span(context).context
          ::OpenTelemetry::Trace::Link.new(found) if found.valid?
        end
      end
    end
  end
end

# frozen_string_literal: true

module RedisIPC
  module OpenTelemetry
    # One call, or one run of a handler: its span, and its duration. {#finish} ends it, once.
    # @api private
    class Operation
      # @param span [::OpenTelemetry::Trace::Span]
      # @param histogram [#record, nil]
      # @param attributes [Hash{String => Object}] those of the duration
      def initialize(span, histogram, attributes)
        @span = span
        @histogram = histogram
        @attributes = attributes
        @started = Monotonic.now
      end

      # Runs the block with the span as the current one.
      def current(&block)
        ::OpenTelemetry::Trace.with_span(@span) { block.call }
      end

      # @param status [String, nil] how it ended, for `rpc.response.status_code`
      # @param error [String, nil] what kind of failure it was
      # @param exception [Exception, nil]
      # @param more [Hash{String => Object}] further attributes of the span
      # @return [void]
      def finish(status: nil, error: nil, exception: nil, more: {})
        added = { "rpc.response.status_code" => status, "error.type" => error }.compact
        @histogram&.record(Monotonic.now - @started, attributes: @attributes.merge(added))
        added.merge(more).each { |name, value| @span.set_attribute(name, value) unless value.nil? }
        @span.record_exception(exception) if exception
        @span.status = ::OpenTelemetry::Trace::Status.error(error) if error
        @span.finish
      end
    end

    # A link of the process's middleware that belongs to {OpenTelemetry}. A subclass defines `operation(subject)`.
    # @api private
    class Link
      # @param telemetry [Telemetry]
      def initialize(telemetry)
        @telemetry = telemetry
      end

      private

      attr_reader :telemetry

      # Runs the block in an operation, which ends with it.
      # @yieldreturn [Object]
      # @return [Object] the same
      def within(operation, subject, &work)
        result = operation.current(&work)
        ending = ending(subject, result)
        result
      rescue Exception => e # rubocop:disable Lint/RescueException -- only noted
        ending = failure(e)
        raise
      ensure
        # A handler that is left by `throw` has no ending.
        telemetry.guard { operation.finish(**(ending || {})) }
      end

      # @return [Hash{Symbol => Object}] the arguments of {Operation#finish}
      def ending(_subject, _result)
        {}
      end

      # @return [Hash{Symbol => Object}] the arguments of {Operation#finish}
      def failure(exception)
        { error: ErrorText.class_name(exception), exception: exception }
      end
    end
  end
end

# frozen_string_literal: true

module RedisIPC
  module JSONRPC
    # Surrounds a client's call with middleware, notifications and the trace context.
    # @api private
    class CallPipeline
      # @param queue [String]
      # @param middleware [RedisIPC::Middleware] the client's own
      def initialize(queue, middleware)
        @queue = queue
        @middleware = middleware
      end

      # @param requests [Hash, Array<Hash>] a request, which may get its id in the block, or a batch
      # @param timeout [Float, nil]
      # @yieldparam timeout [Float, nil] which middleware may have replaced
      # @return [Object] what the block returns
      def run(requests, timeout, &call)
        return watch(requests, timeout, &call) if @middleware.empty? && JSONRPC.call_middleware.empty?

        outgoing = OutgoingCall.new(@queue, requests, timeout)
        JSONRPC.call_middleware.call(outgoing) do
          @middleware.call(outgoing) do
            watch(requests, outgoing.timeout, outgoing.traceparent, outgoing.correlation_id, &call)
          end
        end
      end

      private

      def watch(requests, timeout, traceparent = nil, correlation_id = nil)
        traceparent = Tracing.checked(traceparent) || Tracing.traceparent
        correlation_id = Correlation.of_call(correlation_id)
        locate(requests, traceparent: traceparent, correlation_id: correlation_id) if traceparent || correlation_id
        return yield(timeout) unless Instrumentation.listening?(:request) || Instrumentation.listening?(:timeout)

        Instrumentation.instrument(:request, payload(requests, timeout, correlation_id)) do |payload|
          watched(requests, payload) { yield timeout }
        end
      end

      # Adds the trace context and the correlation id to requests.
      def locate(requests, **context)
        context.compact!
        (requests.is_a?(Array) ? requests : [requests]).each { |request| request.merge!(context) }
      end

      def payload(requests, timeout, correlation_id)
        payload = { queue: @queue, timeout: timeout, **(correlation_id ? { correlation_id: correlation_id } : {}) }
        return payload.merge!(batch: requests) if requests.is_a?(Array)

        payload.merge!(method: requests[:method], params: requests[:params])
      end

      def watched(requests, payload)
        started = Monotonic.now
        result = yield
        note(requests, payload, status: answered?(requests) ? "fulfilled" : "sent")
        result
      rescue Error
        note(requests, payload, status: "rejected")
        raise
      rescue CallError => e
        note(requests, payload, outcome: e.outcome)
        late = e.is_a?(TimeoutError)
        Instrumentation.publish(:timeout, payload.merge(error: e, duration: Monotonic.now - started)) if late
        raise
      end

      # Returns whether an answer comes: notifications alone have none.
      def answered?(requests)
        requests.is_a?(Hash) ? requests.key?(:id) : requests.any? { |request| request.key?(:id) }
      end

      def note(requests, payload, ended)
        payload.merge!(ended)
        payload.merge!(id: requests[:id], reply_to: requests[:reply_to]) if requests.is_a?(Hash)
      end
    end
  end
end

# frozen_string_literal: true

module RedisIPC
  module JSONRPC
    # What surrounds a method: the framework's executor, the trace context, events, middleware; in this order, from
    # outside.
    # @api private
    class Invoking
      # @param queue [String]
      # @param middleware [RedisIPC::Middleware] the server's own
      def initialize(queue, middleware)
        @queue = queue
        @middleware = middleware
      end

      # @param request [Hash{Symbol => Object}]
      # @param reply_to [String, nil] the list its answer goes to
      # @yield runs the method
      # @return [Object] what the block returns
      def run(request, reply_to, &method)
        return yield unless Execution.around_handler || observed?(request)

        invocation = Invocation.new(@queue, request, reply_to)
        Execution.handler(invocation) { traced(invocation, &method) }
      end

      # As {#run}, where the framework's executor is around the caller.
      def run_within(request, &method)
        observed?(request) ? traced(Invocation.new(@queue, request, nil), &method) : yield
      end

      private

      def observed?(request)
        Instrumentation.listening?(:handle) || !@middleware.empty? || !JSONRPC.method_middleware.empty? ||
          (request.key?(:traceparent) && Tracing.available?)
      end

      def traced(invocation, &method)
        Tracing.continue(invocation.traceparent) { tell(invocation, &method) }
      end

      def tell(invocation, &method)
        return through_middleware(invocation, &method) unless Instrumentation.listening?(:handle)

        Instrumentation.instrument(:handle, payload(invocation)) { through_middleware(invocation, &method) }
      end

      def through_middleware(invocation, &method)
        JSONRPC.method_middleware.call(invocation) { @middleware.call(invocation, &method) }
      end

      def payload(invocation)
        { queue: @queue, method: invocation.name, id: invocation.id, from: invocation.reply_to,
          invocation: invocation }
      end
    end
  end
end

# frozen_string_literal: true

module RedisIPC
  module JSONRPC
    # Surrounds a method. From the outside in: the framework's executor, the trace context, notifications, middleware.
    # @api private
    class HandlerPipeline
      # @param queue [String]
      # @param middleware [RedisIPC::Middleware] the server's own
      def initialize(queue, middleware)
        @queue = queue
        @middleware = middleware
      end

      # Runs a method and encodes its result. Encoding is surrounded, too: `as_json` is the user's code, and its failure
      # decides what the caller is told.
      # @param request [Hash{Symbol => Object}]
      # @param encode [#call] makes an answer of the method's result
      # @param delivery [Delivery] where the answer goes
      # @yield runs the method
      # @return [String, nil] the answer
      def run(request, encode, delivery, &method)
        return encode.call(yield) unless RedisIPC.framework.handlers? || observed?(request)

        invocation = Invocation.new(@queue, request, delivery.reply_to)
        RedisIPC.framework.around_handler(invocation) { traced(invocation, encode, delivery, &method) }
      end

      # Does the same as {#run} for a caller that the framework's executor surrounds, and that sends the answer itself.
      def run_within(request, encode, &method)
        return encode.call(yield) unless observed?(request)

        traced(Invocation.new(@queue, request, nil), encode, nil, &method)
      end

      # Tells of a method that runs on after the deadline of its request.
      # @param envelope [Envelope]
      # @param frame [String] the line of the application where it is
      # @param ran [Float] for how many seconds it has run
      def overrun(envelope, frame, ran)
        return unless Instrumentation.listening?(:overrun)

        request = envelope.message
        payload = request.is_a?(Array) ? { queue: @queue, batch: request, from: envelope.reply_to } : single(envelope)
        Instrumentation.publish(:overrun, payload.merge(frame: frame, duration: ran))
      end

      private

      def single(envelope)
        payload(Invocation.new(@queue, envelope.message, envelope.reply_to))
      end

      def observed?(request)
        Instrumentation.listening?(:handle) || !@middleware.empty? || !JSONRPC.method_middleware.empty? ||
          (request.key?(:traceparent) && Tracing.available?)
      end

      def traced(invocation, encode, delivery, &method)
        Tracing.continue(invocation.traceparent) do
          tell(invocation, delivery) { encode.call(through_middleware(invocation, &method)) }
        end
      end

      def tell(invocation, delivery)
        return yield unless Instrumentation.listening?(:handle)

        Instrumentation.instrument(:handle, payload(invocation)) do |payload|
          status = "rejected"
          yield.tap { status = "fulfilled" }
        ensure
          payload[:status] = ending(delivery, status) unless invocation.notification?
        end
      end

      def ending(delivery, status)
        delivery&.obstacle || status
      rescue NotConnectedError
        # The method forked, and this is the child: the request is its parent's.
      end

      def through_middleware(invocation, &method)
        JSONRPC.method_middleware.call(invocation) { @middleware.call(invocation, &method) }
      end

      def payload(invocation)
        payload = { queue: @queue, method: invocation.name, id: invocation.id, from: invocation.reply_to,
                    invocation: invocation }
        payload[:correlation_id] = invocation.correlation_id if invocation.correlation_id
        payload
      end
    end
  end
end

# frozen_string_literal: true

module RedisIPC
  # Surrounds a handler. From the outside in: the framework's executor, the trace context, notifications, middleware.
  # @api private
  class HandlerPipeline
    # @param stream [Stream]
    # @param middleware [Middleware] the stream's own
    def initialize(stream, middleware)
      @stream = stream
      @middleware = middleware
    end

    # @param entry [Entry]
    # @yield runs the handler
    def run(entry, &handler)
      return yield unless surrounded?

      RedisIPC.framework.around_handler(entry) do
        Tracing.continue(entry.traceparent) do
          retried(entry) if Instrumentation.listening?(:retry) && entry.redelivered?
          if Instrumentation.listening?(:handle)
            Instrumentation.instrument(:handle, payload(entry)) { |payload| watched(entry, payload, &handler) }
          else
            through_middleware(entry, &handler)
          end
        end
      end
    end

    # Tells subscribers of a handler that outlasts the deadline of its request.
    # @param entry [Entry]
    # @param frame [String, nil] the line of the application where it is
    def overrun(entry, frame)
      Instrumentation.publish(:overrun, payload(entry).merge(frame: frame, duration: entry.age))
    end

    private

    # Returns whether anything surrounds handlers. Most have nothing, and are spared the blocks.
    def surrounded?
      RedisIPC.framework.handlers? || Tracing.available? || Instrumentation.listening?(:handle) ||
        Instrumentation.listening?(:retry) || !@middleware.empty? || !RedisIPC.handler_middleware.empty?
    end

    # Notes how the request ended. If the handler raised, the caller of this rejects the request later.
    def watched(entry, payload, &handler)
      raised = true
      through_middleware(entry, &handler).tap { raised = false }
    ensure
      payload[:status] = entry.native.answered
      payload[:status] ||= rejection(entry) if raised
    end

    def rejection(entry)
      entry.expired? ? "dropped" : "rejected"
    rescue NotConnectedError
      # The handler forked, and this is the child. The request belongs to the parent.
    end

    def through_middleware(entry, &handler)
      return yield if @middleware.empty? && RedisIPC.handler_middleware.empty?

      RedisIPC.handler_middleware.call(entry) { @middleware.call(entry, &handler) }
    end

    def retried(entry)
      Instrumentation.publish(:retry, payload(entry).merge(duration: entry.age))
    end

    def payload(entry)
      { stream: @stream.stream_name, group: @stream.group_name, from: entry.source_group,
        id: entry.id, redis_id: entry.redis_id,
        deliveries: entry.deliveries, entry: entry, **correlation(entry) }
    end

    def correlation(entry)
      id = entry.correlation_id
      id ? { correlation_id: id } : {}
    end
  end
  private_constant :HandlerPipeline
end

# frozen_string_literal: true

module RedisIPC
  # Surrounds a call on the asking side with middleware, notifications and the trace context.
  # @api private
  class CallPipeline
    # @param stream [Stream]
    # @param middleware [Middleware] the stream's own
    def initialize(stream, middleware)
      @stream = stream
      @middleware = middleware
    end

    # @return [Boolean] whether anything surrounds calls
    def observed?
      !@middleware.empty? || !RedisIPC.request_middleware.empty? || Tracing.available? ||
        RedisIPC.framework.correlations? ||
        listening?
    end

    # Runs a call whose answer the caller waits for.
    # @param request [OutgoingRequest]
    # @yieldparam request [OutgoingRequest] with its trace context
    # @yieldreturn [Response]
    def wait(request, &ask)
      through_middleware(request) do
        locate(request)
        Instrumentation.instrument(:request, payload(request)) { |payload| watched(request, payload, &ask) }
      end
    end

    # Starts a call that the caller does not wait for. Its notifications come when it ends.
    # @param request [OutgoingRequest]
    # @yieldparam request [OutgoingRequest] with its trace context
    # @yieldparam watcher [#call, nil] is called with a block that returns the response, once there is one
    # @yieldreturn [Future]
    def start(request)
      through_middleware(request) do
        locate(request)
        yield request, (watcher(payload(request)) if listening?)
      end
    end

    private

    def listening?
      Instrumentation.listening?(:request) || Instrumentation.listening?(:timeout)
    end

    def through_middleware(request, &block)
      RedisIPC.request_middleware.call(request) { @middleware.call(request, &block) }
    end

    # Adds the trace context and the correlation id to a request.
    def locate(request)
      request.traceparent ||= Tracing.traceparent
      request.correlation_id = Correlation.of_call(request.correlation_id)
    end

    def payload(request)
      payload = { stream: @stream.stream_name, group: @stream.group_name, to: request.to, content: request.content,
                  timeout: request.timeout }
      payload[:correlation_id] = request.correlation_id if request.correlation_id
      payload
    end

    def watched(request, payload)
      started = Monotonic.now
      response = yield request
      note(payload, response)
      response
    rescue CallError => e
      note_failure(payload, e, started)
      raise
    end

    def watcher(payload)
      started = Monotonic.now
      lambda do |&response|
        begin
          note(payload, response.call)
        rescue CallError => e
          note_failure(payload.merge!(error: e), e, started)
        end
        Instrumentation.publish(:request, payload.merge(duration: Monotonic.now - started))
      end
    end

    def note(payload, response)
      payload.merge!(id: response.id, status: response.status, instance_id: response.instance_id)
    end

    def note_failure(payload, error, started)
      payload.merge!(id: error.entry_id, outcome: error.outcome)
      return unless error.is_a?(TimeoutError)

      Instrumentation.publish(:timeout, payload.merge(duration: Monotonic.now - started))
    end
  end
  private_constant :CallPipeline
end

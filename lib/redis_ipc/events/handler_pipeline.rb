# frozen_string_literal: true

module RedisIPC
  module Events
    # Surrounds the handler of an event or a batch. From the outside in: the framework's executor, the trace context,
    # notifications, middleware. It turns what the handler raises into what becomes of the event.
    # @api private
    class HandlerPipeline
      # @param setup [Setup]
      def initialize(setup)
        @place = { stream: setup.stream, group: setup.group, consumer: setup.name }.freeze
        @setup = setup
      end

      # @param subject [ChangeEvent, Array<ChangeEvent>]
      # @param judge [#call] returns what becomes of it for an exception, or for nil
      # @yield runs the handler
      # @return [Object] what `judge` returned
      def run(subject, judge, &handler)
        return judged(judge, nil) { through_middleware(subject, &handler) } unless surrounded?

        RedisIPC.framework.around_handler(subject) do
          Tracing.continue(traceparent(subject)) { told(subject, judge, &handler) }
        end
      rescue SystemExit, SignalException
        raise
      rescue Exception => e # rubocop:disable Lint/RescueException -- the framework raised, as a handler does
        judge.call(e)
      end

      private

      def surrounded?
        RedisIPC.framework.handlers? || Tracing.available? || Instrumentation.listening?(:event)
      end

      # The events of a batch have different publishers, so it continues none of their traces.
      def traceparent(subject)
        subject.traceparent unless subject.is_a?(Array)
      end

      def told(subject, judge, &handler)
        return judged(judge, nil) { through_middleware(subject, &handler) } unless Instrumentation.listening?(:event)

        Instrumentation.instrument(:event, payload(subject)) do |payload|
          judged(judge, payload) { through_middleware(subject, &handler) }
        end
      end

      def judged(judge, payload)
        yield
        note(judge.call(nil), payload)
      rescue SystemExit, SignalException
        raise
      rescue Exception => e # rubocop:disable Lint/RescueException -- any exception is a failure of the event
        note(judge.call(e), payload)
      end

      def note(decision, payload)
        return decision if payload.nil?

        payload[:status] = decision.status
        payload[:error] = decision.error if decision.error
        payload[:wait] = decision.wait if decision.wait
        decision
      end

      def through_middleware(subject, &handler)
        middleware = @setup.middleware
        middleware.empty? ? yield : middleware.call(subject, &handler)
      end

      def payload(subject)
        return @place.merge(events: subject, size: subject.size) if subject.is_a?(Array)

        @place.merge(id: subject.position, type: subject.type, attempt: subject.attempt, event: subject)
      end
    end
    private_constant :HandlerPipeline
  end
end

# frozen_string_literal: true

module RedisIPC
  module Events
    # Surrounds the handler of an event or a batch. From the outside in: the framework's executor, the trace context,
    # notifications, middleware. Turns what the handler raises into a decision about the event.
    #
    # If nothing surrounds the handler, it is called without blocks, because an event takes only a few microseconds.
    # @api private
    class HandlerPipeline
      # @param setup [Setup]
      # @param delivery [#run_handler, #judge] `run_handler(subject, held)` runs the handler;
      #   `judge(error, subject, held, outcome)` decides, by the exception or by what `run_handler` returned
      def initialize(setup, delivery)
        @place = { stream: setup.stream, group: setup.group, consumer: setup.name }.freeze
        @setup = setup
        @delivery = delivery
      end

      # @param subject [ChangeEvent, Array<ChangeEvent>, CommittedTransaction]
      # @param held [Object] what the delivery needs besides
      # @return [Object] what `judge` returned
      def run(subject, held)
        return in_surroundings(subject, held) if surrounded?

        @delivery.judge(nil, subject, held, @delivery.run_handler(subject, held))
      rescue SystemExit, SignalException
        raise
      rescue Exception => e # rubocop:disable Lint/RescueException -- any exception is a failure of the event
        @delivery.judge(e, subject, held, nil)
      end

      private

      def surrounded?
        RedisIPC.framework.handlers? || Tracing.available? || Instrumentation.listening?(:event) ||
          !@setup.middleware.empty? || !Events.event_middleware.empty?
      end

      def in_surroundings(subject, held)
        RedisIPC.framework.around_handler(subject) do
          Tracing.continue(traceparent(subject)) { told(subject, held) }
        end
      end

      # Returns the trace context of an event. A batch continues no trace, because its events have different publishers.
      def traceparent(subject)
        subject.traceparent unless subject.is_a?(Array)
      end

      def told(subject, held)
        return judged(subject, held, nil) unless Instrumentation.listening?(:event)

        Instrumentation.instrument(:event, payload(subject)) { |payload| judged(subject, held, payload) }
      end

      def judged(subject, held, payload)
        outcome = through_middleware(subject, held)
        note(@delivery.judge(nil, subject, held, outcome), payload)
      rescue SystemExit, SignalException
        raise
      rescue Exception => e # rubocop:disable Lint/RescueException -- any exception is a failure of the event
        note(@delivery.judge(e, subject, held, nil), payload)
      end

      def note(decision, payload)
        return decision if payload.nil?

        payload[:status] = decision.status
        payload[:error] = decision.error if decision.error
        payload[:wait] = decision.wait if decision.wait
        decision
      end

      # Runs the middleware and the handler. Middleware may return anything, or not call the handler at all.
      def through_middleware(subject, held)
        outcome = nil
        Events.event_middleware.call(subject) do
          @setup.middleware.call(subject) { outcome = @delivery.run_handler(subject, held) }
        end
        outcome
      end

      def payload(subject)
        return @place.merge(events: subject.to_a, size: subject.size) unless subject.is_a?(ChangeEvent)

        @place.merge(id: subject.position, type: subject.type, attempt: subject.attempt, event: subject)
      end
    end
    private_constant :HandlerPipeline
  end
end

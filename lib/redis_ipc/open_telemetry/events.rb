# frozen_string_literal: true

module RedisIPC
  module OpenTelemetry
    # Spans of events.
    # @api private
    module Events
      # A span is linked to at most so many others: OpenTelemetry's own limit.
      LINKS = 128
      private_constant :LINKS

      # @param operation [String] what is done: `"process"` or `"send"`
      # @param stream [String]
      # @return [Hash{String => Object}]
      def self.attributes(operation, stream)
        { "messaging.system" => "redis_ipc", "messaging.destination.name" => stream,
          "messaging.operation.name" => operation, "messaging.operation.type" => operation }
      end

      # Makes a CONSUMER span of each run of a handler. That of a single event belongs to its publisher's trace; that of
      # a batch is linked to the traces of its events.
      class Consuming < Link
        # @param subject [ChangeEvent, Array<ChangeEvent>, CommittedTransaction]
        # @param handler [#call]
        def call(subject, handler)
          operation = telemetry.guard { operation(subject) } or return handler.call
          within(operation, subject) { handler.call }
        end

        private

        def operation(subject)
          events = subject.is_a?(Array) ? subject : [subject]
          attributes = Events.attributes("process", events.first.source)
          telemetry.begin(:consumer, "process #{events.first.source}", attributes,
                          more: subject.is_a?(ChangeEvent) ? of_event(subject) : of_many(subject),
                          links: subject.is_a?(Array) ? subject.filter_map(&:traceparent).first(LINKS) : [])
        end

        def of_event(event)
          { "messaging.message.id" => event.position, "redis_ipc.event.type" => event.type,
            "redis_ipc.attempt" => event.attempt }
        end

        def of_many(events)
          { "messaging.batch.message_count" => events.size }
        end
      end

      # Makes a PRODUCER span of publishing one event, or several.
      class Publishing < Link
        # @param publication [Array(String, Array<Hash>)] the stream and the events
        # @param publish [#call]
        def call(publication, publish)
          operation = telemetry.guard { operation(*publication) } or return publish.call
          within(operation, publication) { publish.call }
        end

        private

        def operation(stream, events)
          telemetry.begin(:producer, "send #{stream}",
                          Events.attributes("send", stream),
                          more: { "messaging.batch.message_count" => (events.size if events.size > 1) })
        end

        def ending(_publication, positions)
          { more: { "messaging.message.id" => (positions.first if positions.size == 1) } }
        end
      end
    end
  end
end

# frozen_string_literal: true

module RedisIPC
  module OpenTelemetry
    # Spans of request/reply.
    # @api private
    module Requests
      SYSTEM = "redis_ipc"
      # Stands for the name of an event that a server does not know: anybody may send any name.
      OTHER = "_OTHER"
      private_constant :SYSTEM, :OTHER

      class << self
        # @param group [String] the group that is asked
        # @param event [String, nil]
        # @return [Hash{String => Object}]
        def attributes(group, event)
          { "rpc.system.name" => SYSTEM, "rpc.method" => event ? "#{group}/#{event}" : group }
        end

        # @param content [Object]
        # @return [String, nil] the name of the event, if it is for a channel
        def event_in(content)
          content[:event] if content.is_a?(Hash) && content[:event].is_a?(String)
        end

        # @param content [Object]
        # @return [String, nil] the same, if a channel of this process has such an event
        def known_event_in(content)
          event = event_in(content)
          event.nil? || ChannelState.event_name?(event) ? event : OTHER
        end
      end

      # Makes a CLIENT span of each call.
      class Asking < Link
        # @param request [OutgoingRequest]
        # @param ask [#call]
        def call(request, ask)
          operation = telemetry.guard { operation(request) } or return ask.call
          result = operation.current { ask.call }
          settled(result) { |response| telemetry.guard { operation.finish(**response) } }
          result
        rescue Exception => e # rubocop:disable Lint/RescueException -- only noted
          telemetry.guard { operation.finish(**failure(e)) } if operation
          raise
        end

        private

        def operation(request)
          stream = request.stream
          attributes = Requests.attributes(request.to, Requests.event_in(request.content))
          telemetry.begin(:client, attributes["rpc.method"], attributes,
                          more: { "redis_ipc.stream" => stream.stream_name, "redis_ipc.group" => stream.group_name })
        end

        # Yields how a call has ended. One that nobody waits for has only begun.
        def settled(result)
          return yield(ending(result)) unless result.is_a?(Future)

          result.when_settled do
            yield ending(result.response)
          rescue CallError => e
            yield failure(e)
          end
        end

        # Middleware may return anything.
        def ending(result)
          return {} unless result.is_a?(Response)

          { status: result.status, error: (result.status if result.rejected?),
            more: { "redis_ipc.request.id" => result.id, "redis_ipc.instance.id" => result.instance_id } }
        end

        def failure(exception)
          return super unless exception.is_a?(CallError)

          super.merge(status: exception.outcome.to_s, more: { "redis_ipc.request.id" => exception.entry_id })
        end
      end

      # Makes a SERVER span of each run of a handler.
      class Answering < Link
        # @param entry [Entry]
        # @param handler [#call]
        def call(entry, handler)
          operation = telemetry.guard { operation(entry) } or return handler.call
          within(operation, entry) { handler.call }
        end

        private

        def operation(entry)
          attributes = Requests.attributes(entry.destination_group, Requests.known_event_in(entry.content))
          telemetry.begin(:server, attributes["rpc.method"], attributes,
                          more: { "redis_ipc.request.id" => entry.id, "redis_ipc.source_group" => entry.source_group,
                                  "redis_ipc.deliveries" => entry.deliveries })
        end

        # A handler may leave the answer to another thread.
        def ending(entry, _result)
          status = entry.native.answered
          { status: status, error: (status unless status.nil? || status == "fulfilled") }
        end

        def failure(exception)
          super.merge(status: "rejected")
        end
      end
    end
  end
end

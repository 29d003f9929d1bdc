# frozen_string_literal: true

module RedisIPC
  module OpenTelemetry
    # Spans of JSON-RPC.
    # @api private
    module Methods
      # The name of a span of several requests.
      BATCH = "batch"
      private_constant :BATCH

      # @param method [String]
      # @return [Hash{String => Object}]
      def self.attributes(method)
        { "rpc.system.name" => "jsonrpc", "rpc.method" => method, "jsonrpc.protocol.version" => "2.0" }
      end

      # What calls and methods have in common: an Error says what the other side is told.
      class Side < Link
        private

        def failure(exception)
          return super unless exception.is_a?(JSONRPC::Error)

          code = exception.code.to_s
          super.merge(status: code, error: code)
        end
      end
      private_constant :Side

      # Makes a CLIENT span of each call, notification and batch.
      class Calling < Side
        # @param outgoing [JSONRPC::OutgoingCall]
        # @param ask [#call]
        def call(outgoing, ask)
          operation = telemetry.guard { operation(outgoing) } or return ask.call
          within(operation, outgoing) { ask.call }
        end

        private

        def operation(outgoing)
          attributes = Methods.attributes(outgoing.name || BATCH)
          telemetry.begin(:client, attributes["rpc.method"], attributes,
                          more: { "redis_ipc.queue" => outgoing.queue,
                                  "redis_ipc.batch.size" => (outgoing.names.size if outgoing.batch?) })
        end
      end

      # Makes a SERVER span of each run of a method. Only methods that exist run, so their names are few.
      class Serving < Side
        # @param invocation [JSONRPC::Invocation]
        # @param method [#call]
        def call(invocation, method)
          operation = telemetry.guard { operation(invocation) } or return method.call
          within(operation, invocation) { method.call }
        end

        private

        def operation(invocation)
          attributes = Methods.attributes(invocation.name)
          id = invocation.id.to_s unless invocation.notification?
          telemetry.begin(:server, invocation.name, attributes,
                          more: { "redis_ipc.queue" => invocation.queue, "jsonrpc.request.id" => id })
        end
      end
    end
  end
end

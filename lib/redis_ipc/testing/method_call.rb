# frozen_string_literal: true

module RedisIPC
  module Testing
    # A JSON-RPC request that a test made; of a batch, each is one. Its `event` is the method, its `to` the queue.
    # Frozen.
    class MethodCall < Call
      # @api private
      def initialize(queue:, content:, timeout:)
        super(stream: nil, from: nil, to: queue, content: content, timeout: timeout)
      end

      # @return [String] the method
      def event
        content[:method]
      end

      # @return [Array, Hash, nil] as they arrive
      def params
        content[:params]
      end

      # @return [Integer, nil] nil for a notification
      def id
        content[:id]
      end

      # @return [String]
      def inspect
        "#{to} was asked for #{event} with #{params.inspect}"
      end
    end
  end
end

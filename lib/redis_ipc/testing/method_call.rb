# frozen_string_literal: true

module RedisIPC
  module Testing
    # A JSON-RPC request that was made in a test; each request of a batch is one. Its `event` is the method, and its
    # `to` is the queue. It is frozen.
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

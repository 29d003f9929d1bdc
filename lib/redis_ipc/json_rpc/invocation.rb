# frozen_string_literal: true

module RedisIPC
  module JSONRPC
    # An invocation is a method that is run for a request, as `around_method` gets it. It is frozen.
    class Invocation
      # @return [String] the server's queue
      attr_reader :queue
      # @return [String] the method's name
      attr_reader :name
      # @return [Array, Hash{Symbol => Object}, nil] the parameters as they came
      attr_reader :params
      # @return [String, Integer, Float, nil] the request's id; nil for a notification, too
      attr_reader :id
      # @return [String, nil] the list its answer goes to; nil for what did not come by a list
      attr_reader :reply_to
      # @return [String, nil] the asker's trace context (W3C `traceparent`), if it sent one
      attr_reader :traceparent
      # @return [String, nil] the asker's name for the work the request is part of, if it sent one: from a Rails
      #   application the id of the HTTP request
      attr_reader :correlation_id

      # @api private
      def initialize(queue, request, reply_to)
        @queue = queue
        @name = request[:method]
        @params = request[:params]
        @id = request[:id]
        @notification = !request.key?(:id)
        @reply_to = reply_to
        @traceparent = Tracing.checked(request[:traceparent])
        @correlation_id = Correlation.checked(request[:correlation_id])
        freeze
      end

      # @return [Boolean] whether nobody waits for the result
      def notification?
        @notification
      end

      # @return [String]
      def inspect
        "#<#{self.class} #{name} of #{queue}#{" (a notification)" if notification?}>"
      end
    end
  end
end

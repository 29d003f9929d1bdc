# frozen_string_literal: true

module RedisIPC
  module JSONRPC
    # A call, a notification or a batch on its way out, as `around_call` gets it.
    class OutgoingCall
      # @return [String] the client's queue
      attr_reader :queue
      # @return [Float, nil] seconds; nil means the client's `timeout`; may be replaced
      attr_accessor :timeout
      # @return [String, nil] the trace context that goes with it (W3C), of a batch with each request; may be replaced
      attr_accessor :traceparent
      # @return [String, nil] the name of the work it is part of, of a batch with each request: in a Rails application
      #   the id of the HTTP request; may be replaced
      attr_accessor :correlation_id

      # @api private
      def initialize(queue, requests, timeout)
        @queue = queue
        @requests = requests
        @timeout = timeout
      end

      # @return [Boolean] whether it is a batch
      def batch?
        @requests.is_a?(Array)
      end

      # @return [Array<String>] the names of the methods, in order; one, unless it is a batch
      def names
        (batch? ? @requests : [@requests]).map { |request| request[:method] }
      end

      # @return [String, nil] the name of the method; nil of a batch
      def name
        names.first unless batch?
      end

      # @return [Array, Hash, nil] the parameters; nil of a batch, too
      def params
        @requests[:params] unless batch?
      end

      # Replaces the parameters.
      # @param params [Array, Hash, nil] the new parameters
      # @raise [ArgumentError] of a batch
      def params=(params)
        raise ArgumentError, "a batch has no parameters of its own" if batch?

        params.nil? ? @requests.delete(:params) : @requests[:params] = params
      end

      # @return [String]
      def inspect
        "#<#{self.class} #{batch? ? "a batch of #{@requests.size}" : name} to #{queue}>"
      end
    end
  end
end

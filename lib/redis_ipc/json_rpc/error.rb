# frozen_string_literal: true

module RedisIPC
  module JSONRPC
    # What is not JSON.
    PARSE_ERROR = -32_700
    # What is no request.
    INVALID_REQUEST = -32_600
    # A method that is not there.
    METHOD_NOT_FOUND = -32_601
    # Parameters that the method does not have, or that it lacks.
    INVALID_PARAMS = -32_602
    # The method failed in a way its author did not expect.
    INTERNAL_ERROR = -32_603
    # The first of the codes that are left to implementations (-32000 to -32099): a request that was given up on.
    SERVER_ERROR = -32_000
    # A request of a batch that was not started: the deadline had passed, or the answers before it had no room for more.
    NOT_STARTED = -32_001

    # The error of a method. A method raises it to answer with it; {Client#call} raises what was answered.
    class Error < RedisIPC::Error
      # @return [Integer] what kind of error it is; -32768 to -32000 are JSON-RPC's
      attr_reader :code
      # @return [Object, nil] more about it
      attr_reader :data

      # @param message [String] a short description
      # @param code [Integer]
      # @param data [Object, nil] anything JSON can hold
      # @param received [Boolean] whether another party made it
      # @param where [Hash] as for {RedisIPC::Error#initialize}; `stream` is the queue
      # @raise [ArgumentError] if the code is no Integer
      def initialize(message = "Server error", code: SERVER_ERROR, data: nil, received: false, **where)
        raise ArgumentError, "the code must be an Integer, got #{code.inspect}" unless code.is_a?(Integer)

        @received = received
        super(message, **where)
        @code = code
        @data = data
      end

      # @return [Boolean] whether a {Client} was answered with it. To a server it is an exception as any other, which it
      #   does not pass on
      def received?
        @received
      end

      # @return [Hash] the error object of JSON-RPC
      def to_h
        { code: code, message: ErrorText.message_of(self), data: data }.compact
      end

      private

      # What a method says is answered as it is.
      def shown(message)
        received? ? super : message
      end
    end
  end
end

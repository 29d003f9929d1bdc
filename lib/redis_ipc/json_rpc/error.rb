# frozen_string_literal: true

module RedisIPC
  module JSONRPC
    # The code for text that is not JSON.
    PARSE_ERROR = -32_700
    # The code for JSON that is not a request.
    INVALID_REQUEST = -32_600
    # The code for a method that does not exist.
    METHOD_NOT_FOUND = -32_601
    # The code for parameters that do not fit the method.
    INVALID_PARAMS = -32_602
    # The code for a method that failed in a way that its author did not expect.
    INTERNAL_ERROR = -32_603
    # The code for a request that was given up on: the first of those that are left to implementations (-32000 to
    # -32099).
    SERVER_ERROR = -32_000
    # The code for a call of a batch that was not started, because the deadline had passed or the answers before it left
    # no room.
    NOT_STARTED = -32_001

    # The error of a method. A method raises it to answer with it, and {Client#call} raises the error of an answer.
    #
    # @example In a method
    #   raise RedisIPC::JSONRPC::Error.new("no real root", code: 1, data: { number: number })
    #
    # @example Around a call
    #   rescue RedisIPC::JSONRPC::Error => e
    #     puts "#{e.message} (#{e.code}): #{e.data}"
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

      # Returns whether a {Client} was answered with this error. A server does not pass such an error on: it is an
      # exception like any other there.
      # @return [Boolean]
      def received?
        @received
      end

      # @return [Hash] the error object of JSON-RPC
      def to_h
        { code: code, message: ErrorText.message_of(self), data: data }.compact
      end

      private

      # Returns the message: a method's own is answered unchanged.
      def shown(message)
        received? ? super : message
      end
    end
  end
end

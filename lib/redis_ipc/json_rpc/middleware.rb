# frozen_string_literal: true

module RedisIPC
  # Middleware: {JSONRPC.around_call} and {JSONRPC.around_method}.
  module JSONRPC
    @call_middleware = Middleware.new
    @method_middleware = Middleware.new

    class << self
      # Surrounds every call, notification and batch of every client in this process. The middleware of a client runs
      # inside of it. The caller gets what the block returns, so it should end with `call.call`.
      # @param link [#call, nil] instead of a block
      # @yieldparam outgoing [OutgoingCall]
      # @yieldparam call [#call]
      # @return [self]
      # @example
      #   RedisIPC::JSONRPC.around_call do |outgoing, call|
      #     outgoing.timeout ||= 2
      #     call.call
      #   end
      def around_call(link = nil, &block)
        call_middleware.add(link, &block)
        self
      end

      # Surrounds every method of every server in this process. The middleware of a server runs inside of it. The block
      # returns the result; an exception that it raises counts as the method's.
      # @param link [#call, nil] instead of a block
      # @yieldparam invocation [Invocation]
      # @yieldparam method [#call]
      # @return [self]
      # @example
      #   RedisIPC::JSONRPC.around_method do |invocation, method|
      #     Sentry.with_scope { method.call }
      #   end
      def around_method(link = nil, &block)
        method_middleware.add(link, &block)
        self
      end

      # @api private
      attr_reader :call_middleware, :method_middleware
    end
  end
end

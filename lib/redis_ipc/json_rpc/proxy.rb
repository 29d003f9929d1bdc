# frozen_string_literal: true

module RedisIPC
  module JSONRPC
    # Calls methods of the server as if they were its own. Every call goes over the wire, whatever its name.
    class Proxy < BasicObject
      # @api private
      def initialize(client, timeout)
        @client = client
        @timeout = timeout
      end

      # @return [Boolean] true: only the server knows
      def respond_to?(*)
        true
      end

      private

      def respond_to_missing?(*)
        true
      end

      def method_missing(name, *params, **named)
        @client.request(name, ::RedisIPC::JSONRPC::Request.params(params, named), timeout: @timeout)
      end
    end
  end
end

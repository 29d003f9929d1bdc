# frozen_string_literal: true

module RedisIPC
  module JSONRPC
    # Makes requests.
    # @api private
    module Request
      class << self
        # @param method [String, Symbol]
        # @param params [Array, Hash, nil]
        # @return [Hash] a request without an id: a notification
        def build(method, params)
          request = { jsonrpc: "2.0", method: method.to_s }
          params.nil? ? request : request.merge(params: params)
        end

        # @param params [Array] by position
        # @param named [Hash] by name
        # @return [Array, Hash, nil] the parameters in JSON-RPC's form
        # @raise [ArgumentError] with both kinds
        def params(params, named)
          raise ArgumentError, "pass parameters by position or by name, not both" unless params.empty? || named.empty?

          return named unless named.empty?

          params unless params.empty?
        end
      end
    end
  end
end

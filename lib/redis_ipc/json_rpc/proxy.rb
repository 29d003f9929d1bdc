# frozen_string_literal: true

module RedisIPC
  module JSONRPC
    # A proxy calls methods of the server as if they were its own.
    #
    # Some names are never sent: those of methods that every object has, and what Ruby, consoles and test frameworks
    # call by themselves: conversions (`to_...`), `deconstruct...`, `pretty_print...`, `as_json`, `coerce`,
    # `exception`, `marshal_dump`, `encode_with` and `matches?`. Use {Client#call} for methods of the server that have
    # such names.
    #
    # @example
    #   client.proxy(timeout: 2).subtract(42, 23) #=> 19
    class Proxy
      LOCAL = /\A(to_[a-z]+|deconstruct\w*|pretty_(print|inspect)\w*|as_json|coerce|exception|_?marshal_dump|
                  _dump\w*|encode_with|matches\?|does_not_match\?)\z/x
      private_constant :LOCAL

      # @api private
      def initialize(client, timeout)
        @client = client
        @timeout = timeout
      end

      # @return [String]
      def inspect
        "#<#{self.class} of #{@client.inspect}>"
      end
      alias to_s inspect

      private

      # Only the server knows its methods.
      def respond_to_missing?(name, *)
        !LOCAL.match?(name)
      end

      def method_missing(name, *params, **named)
        raise NoMethodError, "a proxy does not send #{name}: use call" if LOCAL.match?(name)

        @client.request(name, Request.params(params, named), timeout: @timeout)
      end
    end
  end
end

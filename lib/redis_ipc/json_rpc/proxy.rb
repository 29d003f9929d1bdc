# frozen_string_literal: true

module RedisIPC
  module JSONRPC
    # A proxy calls methods of the server as if they were its own.
    #
    # Some names are never sent, because Ruby, consoles and test frameworks call them by themselves: the methods that
    # are listed here, conversions (`to_...`), `deconstruct...`, `pretty_print...`, `as_json`, `coerce`, `exception`,
    # `marshal_dump`, `encode_with` and `matches?`. Use {Client#call} for methods of the server that have such names.
    #
    # @example
    #   client.proxy(timeout: 2).subtract(42, 23) #=> 19
    class Proxy < BasicObject
      OWN = %i[inspect to_s class is_a? kind_of? instance_of? nil? eql? == != ! equal? hash respond_to?].freeze
      LOCAL = /\A(===|to_[a-z]+|deconstruct\w*|pretty_(print|inspect)\w*|as_json|coerce|exception|_?marshal_dump|
                  _dump\w*|encode_with|matches\?|does_not_match\?)\z/x
      private_constant :OWN, :LOCAL

      # @api private
      def initialize(client, timeout)
        @client = client
        @timeout = timeout
      end

      # @return [Boolean] true, except for names that are never sent: only the server knows its methods
      def respond_to?(name, *)
        OWN.include?(name.to_sym) || !LOCAL.match?(name)
      end

      # @return [String]
      def inspect
        "#<RedisIPC::JSONRPC::Proxy of #{@client.inspect}>"
      end
      alias to_s inspect

      # @return [Class]
      def class
        ::RedisIPC::JSONRPC::Proxy
      end

      # @return [Boolean]
      def is_a?(kind)
        ::RedisIPC::JSONRPC::Proxy.ancestors.include?(kind)
      end
      alias kind_of? is_a?
      alias instance_of? is_a?

      # @return [Boolean] false
      def nil?
        false
      end

      # @return [Boolean]
      def eql?(other)
        equal?(other)
      end

      # @return [Integer]
      def hash
        __id__
      end

      private

      def respond_to_missing?(name, *)
        respond_to?(name)
      end

      def method_missing(name, *params, **named)
        ::Kernel.raise ::NoMethodError, "a proxy does not send #{name}: use call" if LOCAL.match?(name)

        @client.request(name, ::RedisIPC::JSONRPC::Request.params(params, named), timeout: @timeout)
      end
    end
  end
end

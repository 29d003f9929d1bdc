# frozen_string_literal: true

module RedisIPC
  # The names users give: of streams, groups and queues.
  # @api private
  module Names
    class << self
      # @param what [String] what it names, for the message
      # @param name [String, Symbol]
      # @return [String] frozen, in UTF-8
      # @raise [ArgumentError] if it is blank, or neither a String nor a Symbol
      def check(what, name)
        unless name.is_a?(Symbol) || name.respond_to?(:to_str)
          raise ArgumentError, "#{what} must be a String or a Symbol, got a #{name.class}"
        end

        name = (name.is_a?(Symbol) ? name.name : name.to_str).encode(Encoding::UTF_8)
        raise ArgumentError, "#{what} cannot be blank" if name.strip.empty?

        name.frozen? ? name : name.dup.freeze
      rescue EncodingError
        raise ArgumentError, "#{what} must be text in UTF-8"
      end
    end
  end
  private_constant :Names
end

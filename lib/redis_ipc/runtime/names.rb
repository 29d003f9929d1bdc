# frozen_string_literal: true

module RedisIPC
  # Checks the names of streams, groups and queues that users give.
  # @api private
  module Names
    VISIBLE = /[^\s\0]/
    private_constant :VISIBLE

    class << self
      # @param what [String] what it names, for the message
      # @param name [String, Symbol]
      # @return [String] frozen, in UTF-8
      # @raise [ArgumentError] if it is blank, or neither a String nor a Symbol
      def check(what, name)
        name = text(what, name)
        # Every call passes here, so no String is made that is not needed.
        name = name.encode(Encoding::UTF_8) unless name.encoding == Encoding::UTF_8
        raise EncodingError unless name.valid_encoding?
        raise ArgumentError, "#{what} cannot be blank" unless name.match?(VISIBLE)

        name.frozen? ? name : name.dup.freeze
      rescue EncodingError
        raise ArgumentError, "#{what} must be text in UTF-8"
      end

      private

      def text(what, name)
        return name.name if name.is_a?(Symbol)
        return name.to_str if name.respond_to?(:to_str)

        raise ArgumentError, "#{what} must be a String or a Symbol, got a #{name.class}"
      end
    end
  end
  private_constant :Names
end

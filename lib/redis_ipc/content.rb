# frozen_string_literal: true

module RedisIPC
  # How objects other than nil, true, false, numbers, Strings, Symbols, Arrays and Hashes become JSON.
  # @api private
  module Content
    # JSON's own `Object#to_json` is `to_s.to_json`; on an object whose `to_s` is Ruby's `#<Object:0x...>` that is
    # no content but a mistake.
    GENERIC = Object.instance_method(:to_json).owner
    private_constant :GENERIC

    class << self
      # @param object [Object]
      # @return [Array(Boolean, Object)] true and its JSON text, or false and a simpler object that stands for it
      # @raise [ContentError] if the object does not say what it is in JSON
      def simplify(object)
        return [false, object.as_json] if object.respond_to?(:as_json)
        return [true, object.to_json] if speaks_json?(object)

        raise ContentError, "the content holds a #{object.class}, which has neither as_json nor to_json"
      end

      private

      def speaks_json?(object)
        return false unless object.respond_to?(:to_json)

        object.method(:to_json).owner != GENERIC || object.method(:to_s).owner != Kernel
      end
    end
  end
  private_constant :Content
end

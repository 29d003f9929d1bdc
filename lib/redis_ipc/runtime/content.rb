# frozen_string_literal: true

module RedisIPC
  # Turns other objects than nil, true, false, numbers, Strings, Symbols, Arrays and Hashes into what they say of
  # themselves in JSON. Methods that every object has do not count: `Object#to_json` is the text of `to_s`, and
  # ActiveSupport's `Object#as_json` shows all instance variables.
  # @api private
  module Content
    # These classes have a text that is meant for others, and their `to_json` is that text.
    TEXTS = %i[Numeric Time Date Pathname IPAddr].freeze
    RESPOND_TO = Kernel.instance_method(:respond_to?)
    METHOD = Kernel.instance_method(:public_method)
    CLASS = Kernel.instance_method(:class)
    private_constant :TEXTS, :RESPOND_TO, :METHOD, :CLASS

    class << self
      # @param object [Object]
      # @return [Array(Boolean, Object)] true and its JSON text, or false and a simpler object that stands for it
      # @raise [ContentError] if the object does not say what it is in JSON
      def simplify(object)
        # A delegator has the methods of its object, and those that every object has too.
        return [false, object.__getobj__] if delegator?(object)
        # The `as_json` of parameters would let through what is not permitted; `to_h` raises.
        return [false, object.to_h] if parameters?(object)
        return [false, object.as_json] if own?(object, :as_json)
        return [true, object.to_json] if own?(object, :to_json)
        return [false, object.to_hash] if own?(object, :to_hash)
        return [false, object.to_ary] if own?(object, :to_ary)
        return [false, object.to_s] if text?(object)

        raise ContentError, "the content holds a #{ErrorText.class_name(object)}, which has neither as_json nor " \
                            "to_json of its own: define one in its class, or send what you need of it (to_h, to_a)"
      end

      # Returns whether the object's text is its form in JSON.
      def text?(object)
        kind = CLASS.bind_call(object)
        TEXTS.any? { |name| Object.const_defined?(name) && kind <= Object.const_get(name) } ||
          (defined?(::URI::Generic) && kind <= ::URI::Generic)
      end

      private

      def delegator?(object)
        defined?(::Delegator) && CLASS.bind_call(object) <= ::Delegator
      end

      def parameters?(object)
        defined?(::ActionController::Parameters) && CLASS.bind_call(object) <= ::ActionController::Parameters
      end

      # Returns whether the object's class, or a module it includes, defines the method.
      def own?(object, name)
        return false unless RESPOND_TO.bind_call(object, name)

        owner = METHOD.bind_call(object, name).owner
        !general?(name, owner)
      end

      # Returns whether the method is general: ActiveSupport defines some in classes of which any may be a subclass.
      def general?(name, owner)
        [Object, Kernel, IO, Exception].include?(owner) ||
          (Object.method_defined?(name) && Object.instance_method(name).owner == owner)
      end
    end
  end
  private_constant :Content
end

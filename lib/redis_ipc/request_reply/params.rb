# frozen_string_literal: true

module RedisIPC
  # The params of one event: those that it lists, readable by String or Symbol.
  class Params
    # @api private
    def initialize(values)
      @values = values.freeze
    end

    # Returns the param of that name.
    # @param key [String, Symbol]
    # @return [Object, nil] nil if it was not sent
    def [](key)
      @values[key.to_sym]
    end

    # Returns the param of that name, as Hash#fetch does.
    # @param key [String, Symbol]
    # @return [Object]
    # @raise [KeyError] if it was not sent, without a default or a block
    def fetch(key, *default, &block)
      @values.fetch(key.to_sym, *default, &block)
    end

    # Returns whether the param was sent.
    # @param key [String, Symbol]
    # @return [Boolean]
    def key?(key)
      @values.key?(key.to_sym)
    end

    # Returns a value inside of a param, as Hash#dig does.
    # @param key [String, Symbol]
    # @return [Object, nil]
    def dig(key, *rest)
      @values.dig(key.to_sym, *rest)
    end

    # @return [Hash{Symbol => Object}]
    def to_h
      @values.dup
    end

    # @return [String]
    def inspect
      @values.inspect
    end
  end
end

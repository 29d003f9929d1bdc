# frozen_string_literal: true

module RedisIPC
  # The listed params of one event, readable by String or Symbol.
  class Params
    # @api private
    def initialize(values)
      @values = values.freeze
    end

    # @param key [String, Symbol]
    # @return [Object, nil]
    def [](key)
      @values[key.to_sym]
    end

    # @param key [String, Symbol]
    # @return [Object] as Hash#fetch
    def fetch(key, *default, &block)
      @values.fetch(key.to_sym, *default, &block)
    end

    # @param key [String, Symbol]
    # @return [Boolean] whether it was sent
    def key?(key)
      @values.key?(key.to_sym)
    end

    # @param key [String, Symbol]
    # @return [Object, nil] as Hash#dig
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

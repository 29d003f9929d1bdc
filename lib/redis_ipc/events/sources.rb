# frozen_string_literal: true

module RedisIPC
  module Events
    # Makes the source of a consumer from what its class declares.
    # @api private
    module Sources
      # The declarations of a source.
      WORDS = %i[stream channel pattern shard_channel keys tracking wal].freeze

      class << self
        # @param who [String] the class
        # @param said [Hash{Symbol => Array}] for each declaration the names and the options
        # @param order [Array(Symbol, Hash), nil] the order that the class declares
        # @return [StreamSource, LiveSource, WalSource]
        # @raise [ConfigurationError]
        def of(who, said, order)
          Check.refuse("#{who} has no source: call stream \"name\", group: \"name\"") if said.empty?
          Check.refuse("#{who} has two sources: #{said.keys.join(" and ")}") if said.size > 1

          kind, (names, options) = said.first
          return StreamSource.new(who, names, options, order) if kind == :stream
          return WalSource.new(who, names, options, order) if kind == :wal

          LiveSource.new(who, kind, names, options, order)
        end
      end
    end
    private_constant :Sources
  end
end

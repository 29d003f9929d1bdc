# frozen_string_literal: true

module RedisIPC
  module Events
    # The checked declaration of channels, patterns or keys. It is frozen.
    # @api private
    class LiveSource
      include NoStream

      KEPT = "is for streams: of a live source nothing is kept"
      KINDS = { channel: :pubsub, pattern: :pubsub, shard_channel: :sharded_pubsub }.freeze
      FOREIGN = { lease: KEPT, dead_letters: KEPT, remember_ids: KEPT }.freeze
      private_constant :KEPT, :KINDS, :FOREIGN

      # @return [String] the names, under which losses are reported
      attr_reader :name
      # @return [Symbol] the declaration
      attr_reader :kind
      # @return [Array<String>] the channels, or the patterns
      attr_reader :names
      # @return [MessageFormat, KeyFormat]
      attr_reader :format

      # @param who [String] the class
      # @param kind [Symbol] `:channel`, `:pattern`, `:shard_channel` or `:keys`
      # @param names [Array<String, Symbol>]
      # @param options [Hash]
      # @param order [Array(Symbol, Hash), nil] the order that the class declares
      # @raise [ConfigurationError]
      def initialize(who, kind, names, options, order)
        @kind = kind
        @names, words = LiveWords.source(who, kind, names, options)
        @name = @names.join(", ").freeze
        @live = { kind: kind.name, names: @names, on: words[:on], value: words[:value], overflow: words[:overflow],
                  order: LiveWords.order(who, kind, *(order || [kind == :keys ? :key : :channel, {}])) }.freeze
        @format = format_of(kind, words)
        freeze
      end

      # @return [Boolean] whether the values of keys are read
      def reads_values?
        @live[:value]
      end

      # (see StreamSource#lag?)
      def lag?
        false
      end

      # (see StreamSource#foreign)
      def foreign
        FOREIGN
      end

      # (see StreamSource#order)
      def order
        @live[:order]
      end

      # Is 1, for at most once: nothing is tried again unless the class declares otherwise.
      # (see StreamSource#attempts)
      def attempts
        1
      end

      # (see StreamSource#without_records)
      def without_records
        "needs a stream, or PostgreSQL's log: what is published to a channel comes at most once"
      end

      # (see StreamSource#core)
      def core
        { live: @live }
      end

      private

      def format_of(kind, words)
        return KeyFormat.new if kind == :keys

        MessageFormat.new(KINDS[kind], json: words[:json], type: words[:type])
      end
    end
    private_constant :LiveSource
  end
end

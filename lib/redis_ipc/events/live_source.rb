# frozen_string_literal: true

module RedisIPC
  module Events
    # The checked declaration of channels, patterns, keys or prefixes of keys. It is frozen.
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
      # @return [MessageFormat, KeyFormat, TrackingFormat]
      attr_reader :format

      # @param who [String] the class
      # @param kind [Symbol] `:channel`, `:pattern`, `:shard_channel`, `:keys` or `:tracking`
      # @param names [Array<String, Symbol>]
      # @param options [Hash]
      # @param order [Array(Symbol, Hash), nil] the order that the class declares
      # @raise [ConfigurationError]
      def initialize(who, kind, names, options, order)
        @kind = kind
        @names, words = LiveWords.source(who, kind, names, options)
        @name = @names.join(", ").freeze
        order ||= [LiveWords.of_keys?(kind) ? :key : :channel, {}]
        @live = { kind: kind.name, names: @names, **words.slice(:on, :value, :fields, :overflow),
                  order: LiveWords.order(who, kind, *order) }.freeze
        @format = format_of(kind, words)
        freeze
      end

      # @return [Boolean] whether the values of keys are read
      def reads_values?
        @live[:value]
      end

      # @return [Boolean] whether it is told of the fields of hashes
      def of_fields?
        @live[:fields]
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
        return TrackingFormat.new if kind == :tracking

        MessageFormat.new(KINDS[kind], json: words[:json], type: words[:type])
      end
    end
    private_constant :LiveSource
  end
end

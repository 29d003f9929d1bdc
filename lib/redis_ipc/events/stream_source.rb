# frozen_string_literal: true

module RedisIPC
  module Events
    # The stream of a consumer, as its class says it, checked. It is frozen.
    # @api private
    class StreamSource
      FOREIGN = { prefetch_bytes: "is for channels, keys and PostgreSQL" }.freeze
      ATTEMPTS = 5
      private_constant :FOREIGN, :ATTEMPTS

      # @return [String] the stream
      attr_reader :name
      # @return [String]
      attr_reader :group
      # @return [EntryFormat]
      attr_reader :format

      # @param who [String] the class
      # @param name [String, Symbol]
      # @param options [Hash]
      # @param order [Array(Symbol, Hash), nil] what the class says of it
      # @raise [ConfigurationError]
      def initialize(who, name, options, order)
        @name, words = Words.stream(who, name, options)
        @group = words[:group]
        @from = words[:from]
        @order = Words.order(who, *(order || [:none, {}]))
        @format = EntryFormat.new(@name, json: words[:json], type: words[:type], by: @order[:by],
                                         partitions: @order[:partitions])
        @order = @order.merge(json: words[:json] || nil).compact.freeze
        freeze
      end

      # @return [Boolean] whether Redis keeps no events
      def live?
        false
      end

      # @return [Boolean] whether it can be told how much is still to come
      def lag?
        true
      end

      # @return [Hash{Symbol => String}] options of `start` that mean nothing here, and why
      def foreign
        FOREIGN
      end

      # @return [String] what messages call it
      def title
        "#{name}/#{group}"
      end

      # @return [String] the order in which events are handled
      def order
        @order[:order]
      end

      # @return [Boolean] whether a dead letter lets the later events of its key wait
      def holds_keys?
        @order[:holds_keys] ? true : false
      end

      # @return [Integer, nil] over how many streams the events are spread
      def partitions
        @order[:partitions]
      end

      # @return [Integer] how often an event is tried where nothing else is said
      def attempts
        ATTEMPTS
      end

      # @return [Hash{Symbol => Object}] what the core is told
      def core
        # A field `id` of a foreign entry may be anything.
        own = { from: @from, **@order }
        format.foreign? ? own.merge(remember_ids: 0) : own
      end
    end
    private_constant :StreamSource
  end
end

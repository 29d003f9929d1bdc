# frozen_string_literal: true

module RedisIPC
  module Events
    # The checked declaration of a stream. It is frozen.
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
      # @param order [Array(Symbol, Hash), nil] the order that the class declares
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

      # @return [Symbol] the declaration
      def kind
        :stream
      end

      # @return [Boolean] whether Redis keeps no events of this source
      def live?
        false
      end

      # @return [Boolean] whether the source knows how much is still to come
      def lag?
        true
      end

      # @return [Hash{Symbol => String}] the options of `start` that mean nothing for this source, and why
      def foreign
        FOREIGN
      end

      # @return [String] its name in messages
      def title
        "#{name}/#{group}"
      end

      # @return [String] the order in which events are handled
      def order
        @order[:order]
      end

      # @return [Boolean] whether a dead letter stops the later events of its key
      def holds_keys?
        @order[:holds_keys] ? true : false
      end

      # @return [Integer, nil] the number of partitions
      def partitions
        @order[:partitions]
      end

      # @return [Integer] how often an event is tried if the class declares nothing
      def attempts
        ATTEMPTS
      end

      # @return [String, nil] why it cannot have `exactly_once`
      def without_records; end

      # @param engine [Native::EventConsumer]
      # @return [Integer] no record of an event with a lower number is needed: ms of its id
      def floor(engine)
        engine.progress.last.to_i
      end

      # @return [Hash{Symbol => Object}] the options for the core
      def core
        # A field `id` of another program's entry may be anything.
        own = { from: @from, **@order }
        format.foreign? ? own.merge(remember_ids: 0) : own
      end
    end
    private_constant :StreamSource
  end
end

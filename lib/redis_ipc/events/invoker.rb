# frozen_string_literal: true

module RedisIPC
  module Events
    # Runs the handler of an event or of a batch in a new instance of the consumer class. It is frozen.
    # @api private
    class Invoker
      # @param consumer_class [Class]
      # @param handlers [Hash{String => Symbol}] the methods for the types
      # @param processor [Processing, nil] instead of the method `call`
      # @param limit [#covers?, nil] says whether a position is handled; other events are done without a handler
      # @param transactions [Symbol, nil] the method for transactions
      def initialize(consumer_class, handlers, processor = nil, limit = nil, transactions: nil)
        @consumer_class = consumer_class
        @handlers = handlers.freeze
        @processor = processor
        @limit = limit
        @transactions = transactions
        @rest = (:call if consumer_class.method_defined?(:call) || consumer_class.private_method_defined?(:call))
        freeze
      end

      # @return [Boolean] whether there is no handler
      def empty?
        @rest.nil? && @handlers.empty? && @processor.nil? && @transactions.nil?
      end

      # @return [Boolean] whether the method `call` wants the events
      def rest?
        !@rest.nil?
      end

      # @return [Boolean] whether a type has a handler of its own
      def types?
        !@handlers.empty?
      end

      # @return [Boolean] whether there are both a method `call` and a processor
      def ambiguous?
        !@rest.nil? && !@processor.nil?
      end

      # Runs the handler for the event's type, or `call`, or the processor. Without any of them, does nothing.
      # @param event [ChangeEvent]
      # @return [void]
      def event(event)
        return if @limit && !@limit.covers?(event.position)

        name = @handlers.empty? ? @rest : @handlers.fetch(event.type, @rest)
        name ? @consumer_class.new.__send__(name, event) : @processor&.call(event)
      end

      # @param transaction [CommittedTransaction]
      # @return [void]
      def transaction(transaction)
        @consumer_class.new.__send__(@transactions, transaction)
      end

      # @param events [Array<ChangeEvent>]
      # @return [void]
      def batch(events)
        events = events.select { |event| @limit.covers?(event.position) } if @limit
        return if events.empty?

        @consumer_class.new.__send__(@rest, events)
      end
    end
    private_constant :Invoker
  end
end

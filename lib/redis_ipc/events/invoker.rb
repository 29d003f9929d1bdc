# frozen_string_literal: true

module RedisIPC
  module Events
    # Runs the handler of an event or of a batch in a new instance of the consumer class. It is frozen.
    # @api private
    class Invoker
      # @param consumer_class [Class]
      # @param handlers [Hash{String => Symbol}] the methods of the types
      def initialize(consumer_class, handlers)
        @consumer_class = consumer_class
        @handlers = handlers.freeze
        @rest = (:call if consumer_class.method_defined?(:call) || consumer_class.private_method_defined?(:call))
        freeze
      end

      # @return [Boolean] whether there is no handler
      def empty?
        @rest.nil? && @handlers.empty?
      end

      # @return [Boolean] whether a type has a handler of its own
      def types?
        !@handlers.empty?
      end

      # Runs the handler of the event's type, or `call`. Without both nothing is done.
      # @param event [ChangeEvent]
      # @return [void]
      def event(event)
        name = @handlers.empty? ? @rest : @handlers.fetch(event.type, @rest)
        @consumer_class.new.__send__(name, event) if name
      end

      # @param events [Array<ChangeEvent>]
      # @return [void]
      def batch(events)
        @consumer_class.new.__send__(@rest, events)
      end
    end
    private_constant :Invoker
  end
end

# frozen_string_literal: true

module RedisIPC
  module Testing
    # Holds the registrations of one moment: subscribers, middleware, and the `on_error` of channels and consumers.
    # @api private
    class Registrations
      def initialize
        @subscribers = Instrumentation.subscribers
        @channels = [Channel, *Receivers.channels].to_h { |one| [one, ChannelState.of(one).own_error_handler] }
        @consumers = Events::InlineConsumers.registrations
        @links = middleware.to_h { |one| [one, one.to_a] }.compare_by_identity
      end

      # Restores them. A channel that was not loaded then keeps the handler that its own file sets.
      def restore
        Instrumentation.subscribers = @subscribers
        @channels.each { |channel, handler| ChannelState.of(channel).own_error_handler = handler }
        Events::InlineConsumers.restore(@consumers)
        @links.each { |middleware, links| middleware.restore(links) }
      end

      # Retires classes without a name that a test has made. They would answer in later tests until they are collected.
      def retire_newcomers
        (Receivers.channels - @channels.keys).each { |one| Receivers.retire(one) unless one.name }
      end

      private

      def middleware
        states = @channels.each_key.map { |one| ChannelState.of(one) }
        own = states.flat_map { |state| %i[request handler].map { |side| state.own_middleware(side) } }
        [RedisIPC.request_middleware, RedisIPC.handler_middleware, JSONRPC.call_middleware, JSONRPC.method_middleware,
         Events.event_middleware, Events.publish_middleware, *own]
      end
    end
    private_constant :Registrations
  end
end

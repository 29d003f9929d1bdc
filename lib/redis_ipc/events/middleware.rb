# frozen_string_literal: true

module RedisIPC
  # Middleware: {Events.around_event}.
  module Events
    @event_middleware = Middleware.new
    @publish_middleware = Middleware.new

    class << self
      # Surrounds the handlers of every consumer in this process. The middleware of a class runs inside of it. An
      # exception that it raises counts as the handler's.
      # @param link [#call, nil] instead of a block
      # @yieldparam event [ChangeEvent, Array<ChangeEvent>, CommittedTransaction]
      # @yieldparam handler [#call]
      # @return [self]
      # @example
      #   RedisIPC::Events.around_event do |event, handler|
      #     Sentry.with_scope { handler.call }
      #   end
      def around_event(link = nil, &block)
        event_middleware.add(link, &block)
        self
      end

      # @return [Middleware] surrounds handlers
      # @api private
      attr_reader :event_middleware
      # @return [Middleware] surrounds {publish_all}; its subject is the stream and the events
      # @api private
      attr_reader :publish_middleware
    end
  end
end

# frozen_string_literal: true

module RedisIPC
  module Testing
    # What {Testing} knows of losses.
    module Losses
      # The causes of losses by the kind of source, and of a live source.
      LIVE_CAUSES = %i[disconnected slow_consumer restarted failover slot_moved too_large].freeze
      CAUSES = { stream: %i[trimmed rolled_back flushed].freeze, wal: %i[slot_lost].freeze,
                 tracking: [*LIVE_CAUSES, :flushed].freeze }.freeze
      private_constant :CAUSES, :LIVE_CAUSES

      # Tells a consumer that events may be missing, as if its stream had lost them: `on_loss`, or the log, and
      # subscribers. In every mode, and at once; it need not be started.
      #
      # An exception of `on_loss` is not raised: `on_error` is told. A failed expectation or mock is raised.
      # @param consumer [Class, Events::Subscription] a {Events::Consumer}
      # @param at_most [Integer, nil] as {Loss#at_most}
      # @param cause [Symbol, nil] as {Loss#cause}; nil: `:trimmed`, of live sources `:disconnected`, of PostgreSQL
      #   `:slot_lost`
      # @param exact [Boolean] as {Loss#exact?}
      # @param between [Range<Time>] {Loss#since} and {Loss#until}; it may have no beginning
      # @return [Loss] what the consumer was told
      # @raise [ArgumentError] if an argument is of the wrong kind
      # @raise [ConfigurationError] if the class says something wrong
      # @example
      #   RedisIPC::Testing.lose_events(PriceEvents, at_most: 12)
      #   RedisIPC::Testing.lose_events(BillingEvents, cause: :flushed, between: Time.now - 60..Time.now)
      def lose_events(consumer, at_most: nil, cause: nil, exact: false, between: nil..Time.now)
        delivery = Events::InlineConsumers.delivery(consumer)
        causes = CAUSES.fetch(delivery.kind, LIVE_CAUSES)
        cause ||= causes.first
        check_loss(at_most, cause, causes, exact)
        since, before = milliseconds(between)
        told = { cause: cause, at_most: at_most, exact: exact, since_ms: since, until_ms: before }
        delivery.loss(told).tap { |loss| delivery.lose(loss) }
      end

      private

      def check_loss(at_most, cause, causes, exact)
        raise ArgumentError, "cause must be one of #{causes}, got #{cause.inspect}" unless causes.include?(cause)

        count("at_most", at_most, 0) unless at_most.nil?
        raise ArgumentError, "exact must be true or false, got #{exact.inspect}" unless [true, false].include?(exact)
        raise ArgumentError, "an exact number needs at_most" if exact && at_most.nil?
      end

      def milliseconds(between)
        times = between.is_a?(Range) ? [between.begin, between.end] : []
        fits = times.last.respond_to?(:to_time) && (times.first.nil? || times.first.respond_to?(:to_time))
        raise ArgumentError, "between must be a range of times that ends, got #{between.inspect}" unless fits

        times.map { |time| (time.to_time.to_r * 1000).to_i if time }
      end
    end
  end
end

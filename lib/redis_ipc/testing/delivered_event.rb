# frozen_string_literal: true

module RedisIPC
  module Testing
    # What became of an event that a test delivered to a consumer. It is frozen.
    #
    # @example
    #   deliver_event(BillingEvents, "order.created", order_id: 7).done?  #=> true
    class DeliveredEvent
      # @return [ChangeEvent] what the handler got
      attr_reader :event
      # @return [Exception, nil] what the handler raised, or was marked with ({ChangeEvent#fail!})
      attr_reader :error
      # @return [Float, nil] the seconds until it would be tried again
      attr_reader :wait

      # @param event [ChangeEvent]
      # @param decision [Object] the core's word for it
      # @api private
      def initialize(event, decision)
        @event = event
        @status = decision.status
        @error = decision.error
        @wait = decision.wait
        freeze
      end

      # @return [Boolean] whether it is done, and would be acknowledged
      def done?
        @status == "done" || skipped?
      end

      # @return [Boolean] whether the record of the database says that it was done before, so that no handler ran
      #   ({Events::Consumer.exactly_once})
      def skipped?
        @status == "skipped"
      end

      # @return [Boolean] whether it would be tried again after {#wait} seconds
      def retried?
        @status == "retried"
      end

      # @return [Boolean] whether `discard_on` dropped it
      def discarded?
        @status == "discarded"
      end

      # @return [Boolean] whether it was given up on. Of a stream it is a dead letter then
      def dead?
        @status == "dead"
      end

      # @return [String]
      def inspect
        failure = ": #{LogText.error(error)}" if error
        pause = " in #{wait.round(1)} s" if wait
        "#<#{self.class} #{@status}#{pause}#{failure}, #{event.inspect}>"
      end
    end
  end
end

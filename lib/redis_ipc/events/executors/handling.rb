# frozen_string_literal: true

module RedisIPC
  module Events
    module Executors
      # Handles the events that were taken together: as a batch, or one after the other in their order.
      # @api private
      class Handling
        # @param setup [Setup]
        # @param delivery [Delivery, BatchDelivery]
        def initialize(setup, delivery)
          @batch = setup.batch
          @ordered = setup.ordered?
          @delivery = delivery
        end

        # @param engine [Native::EventConsumer, Link]
        # @param events [Array<Native::StreamEvent>]
        # @param intake [Intake] says when to stop
        # @return [Boolean] false if events are left that were not begun
        def call(engine, events, intake)
          return one_by_one(engine, events, intake) unless @batch

          @delivery.call(engine, events)
          true
        end

        private

        def one_by_one(engine, events, intake)
          events.each do |event|
            return false if intake.stopping?

            done = @delivery.call(engine, event)
            # Where there is an order, what comes after an event that is not done waits for it.
            return false if @ordered && !done
          end
          true
        end
      end
    end
  end
end

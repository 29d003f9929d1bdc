# frozen_string_literal: true

module RedisIPC
  module Events
    module Executors
      # Handles events that were taken together: as a batch, or one after the other in their order.
      # @api private
      class Handling
        # @param setup [Setup]
        # @param delivery [Delivery, BatchDelivery]
        # @param watch [SlowWatch, nil] gives back the events that wait for a slow handler
        def initialize(setup, delivery, watch = nil)
          @batch = setup.batch
          @ordered = setup.ordered?
          @delivery = delivery
          @watch = watch
        end

        # @return [SlowWatch, nil]
        attr_reader :watch

        # @param engine [Native::EventConsumer, Link]
        # @param events [Array<Native::StreamEvent>] handled events are deleted from it, except with batches
        # @param intake [Intake] says when to stop, and is told which handlers run
        # @return [Boolean] false if events are left that were not begun
        def call(engine, events, intake)
          running = intake.running.begin(events)
          handle(engine, events, intake)
        ensure
          intake.running.end(running)
        end

        private

        def handle(engine, events, intake)
          if @batch
            @delivery.call(engine, events)
            true
          elsif watch
            watch.over(events) { one_by_one(engine, events, intake) { watch.advance(events) } }
          else
            one_by_one(engine, events, intake) { events.shift }
          end
        end

        def one_by_one(engine, events, intake)
          until events.empty?
            return false if intake.stopping?

            done = @delivery.call(engine, events.first)
            # With an order, the events behind one that is not done must wait for it.
            return false if @ordered && !done

            yield
          end
          true
        end
      end
    end
  end
end

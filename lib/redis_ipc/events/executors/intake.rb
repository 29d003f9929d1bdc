# frozen_string_literal: true

module RedisIPC
  module Events
    module Executors
      # Takes events from the engine for a worker.
      # @api private
      class Intake
        # The most events that a worker takes at once. The core hands out several only while handlers are quick.
        MOST = 64
        private_constant :MOST

        # @param engine [Native::EventConsumer, Link]
        # @param setup [Setup]
        # @param running [RunningHandlers] is told which handlers run
        # @yieldparam loss [Hash{Symbol => Object}] a loss that the engine delivered in place of an event
        def initialize(engine, setup, running, &lost)
          @engine = engine
          @running = running
          @lost = (lost if setup.live?)
          @batch = setup.batch
          @ordered = setup.ordered?
          @pid = Process.pid
        end

        # @return [RunningHandlers]
        attr_reader :running

        # From now on, begins no event.
        def stop
          @stopping = true
        end

        # @return [Boolean] whether no event may be begun any more
        def stopping?
          @stopping ? true : false
        end

        # Takes events and calls the block with them. The thread may be killed while it waits for events or while the
        # block runs, but not in between: otherwise nobody would handle what it has taken.
        # @param most [Integer] the most events to take; it does not apply to batches
        # @yieldparam engine [Native::EventConsumer, Link]
        # @yieldparam events [Array<Native::StreamEvent>]
        # @yieldreturn [Boolean] whether all of them were settled; the rest is given back
        # @return [Boolean] whether there may be more
        def next(most = MOST)
          finished = events = nil
          Thread.handle_interrupt(Object => :on_blocking) do
            events = @batch ? @engine.take_batch(*@batch) : @engine.take(most)
            finished = events.nil? || Thread.handle_interrupt(Object => :immediate) do
              told?(events) || yield(@engine, events)
            end
          end
          # Ends in a fork: a handler may have forked, and the child may have run on to here.
          !events.nil? && @pid == Process.pid
        ensure
          # The consumer stops, or the thread was killed. Other threads or processes handle the rest.
          give_back(events) if events && !finished
        end

        # Takes events for other workers, and calls the block with them. The block must not wait.
        # @param free [Integer] how many workers are free
        # @yieldparam engine [Native::EventConsumer]
        # @yieldparam groups [Array<Array<Native::StreamEvent>>] one group for each worker; at most `free`
        # @return [Boolean] whether there may be more
        def hand_over(free)
          Thread.handle_interrupt(Object => :on_blocking) do
            groups = take_for(free)
            hand(groups) { yield @engine, groups } if groups
            !groups.nil? && @pid == Process.pid
          end
        end

        # Takes an event that is ready, for a free worker. Does not do so for batches. With an order it asks the engine
        # for one event after the other.
        # @return [Array<Native::StreamEvent>, nil] one event; nil if there is none
        def ready
          event = @engine.take_ready unless @batch || @ordered || @stopping
          [event] if event
        rescue NotConnectedError
          # A handler has forked, and this is the child.
        end

        # Gives back those events that are not settled.
        # @param events [Array<Native::StreamEvent>]
        # @return [void]
        def give_back(events)
          FiberWaker.outside { @engine.give_back(events) }
        rescue NotConnectedError
          # This is a fork, or the engine is closed and has given them back.
        end

        private

        # Reports a loss. A loss is taken alone, and nothing else is handled until it is reported.
        # @param events [Array<Native::StreamEvent>]
        # @return [Boolean] whether it was a loss
        def told?(events)
          loss = @lost && events.first.loss or return false
          @lost.call(loss)
          @engine.done(events)
          told = true
        ensure
          give_back(events) if loss && !told
        end

        # Once the events are handed over, this thread must not be killed before it knows that.
        def hand(groups, &block)
          told?(groups.first) || Thread.handle_interrupt(Object => :never, &block)
        end

        def take_for(free)
          return @engine.take_batch(*@batch)&.then { |events| [events] } if @batch

          (@ordered ? @engine.take(1) : @engine.take_for(free))&.map { |event| [event] }
        end
      end
    end
  end
end

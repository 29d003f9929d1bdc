# frozen_string_literal: true

module RedisIPC
  module Events
    module Executors
      # Takes events from the engine for a worker.
      # @api private
      class Intake
        # How many events a worker takes at once, at most. The core hands out several only where handlers are quick.
        MOST = 64
        private_constant :MOST

        # @param engine [Native::EventConsumer, Link]
        # @param setup [Setup]
        # @yieldparam loss [Hash{Symbol => Object}] what the engine has taken in the place of an event
        def initialize(engine, setup, &lost)
          @engine = engine
          @lost = (lost if setup.live?)
          @batch = setup.batch
          @ordered = setup.ordered?
          @pid = Process.pid
        end

        # From now on no event is begun.
        def stop
          @stopping = true
        end

        # @return [Boolean] whether no event is to be begun any more
        def stopping?
          @stopping ? true : false
        end

        # Takes events and calls the block with them. The thread can be killed while it waits for them or while the
        # block runs, but not in between: nobody else would handle what it has taken.
        # @param most [Integer] how many it takes at most; batches are not counted by it
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
          # Not in a fork: a handler may have forked, and run on in the child.
          !events.nil? && @pid == Process.pid
        ensure
          # The consumer stops, or the thread was killed: other threads, or other processes, handle the rest.
          give_back(events) if events && !finished
        end

        # Takes events for other workers, and calls the block with them, which may not wait for anything.
        # @param free [Integer] how many workers are free
        # @yieldparam engine [Native::EventConsumer]
        # @yieldparam groups [Array<Array<Native::StreamEvent>>] for one worker each; at most `free`
        # @return [Boolean] whether there may be more
        def hand_over(free)
          Thread.handle_interrupt(Object => :on_blocking) do
            groups = take_for(free)
            hand(groups) { yield @engine, groups } if groups
            !groups.nil? && @pid == Process.pid
          end
        end

        # Takes an event that is there already, for a worker that is free. Batches are not, and where there is an order
        # the engine is asked for one event after the other.
        # @return [Array<Native::StreamEvent>, nil] one event; nil if there is none
        def ready
          event = @engine.take_ready unless @batch || @ordered || @stopping
          [event] if event
        rescue NotConnectedError
          # A handler has forked, and this is the child.
        end

        # Gives back those of the events that are not settled.
        # @param events [Array<Native::StreamEvent>]
        # @return [void]
        def give_back(events)
          FiberWaker.outside { @engine.give_back(events) }
        rescue NotConnectedError
          # This is a fork, or the engine is closed and has given them back.
        end

        private

        # Tells a loss. It is alone where events are taken, and nothing else is handled until it is told.
        # @param events [Array<Native::StreamEvent>]
        # @return [Boolean] whether it was one
        def told?(events)
          loss = @lost && events.first.loss or return false
          @lost.call(loss)
          @engine.done(events)
          told = true
        ensure
          give_back(events) if loss && !told
        end

        # Once they are handed over, nobody may end this thread before it knows that.
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

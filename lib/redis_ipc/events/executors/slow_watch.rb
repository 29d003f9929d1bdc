# frozen_string_literal: true

module RedisIPC
  module Events
    module Executors
      # While handlers are quick, a thread takes several events at once. If one of them then takes long, the others
      # would wait behind it although other threads are free. This thread gives them back.
      # @api private
      class SlowWatch
        # If a handler takes longer than this, in seconds, the events behind it are given back. That happens after 0.2
        # to 0.4 s.
        PATIENCE = 0.2
        private_constant :PATIENCE

        # @param intake [Intake]
        # @param label [String] for the name of its thread
        # @param ordered [Boolean] whether events of the same key must wait for each other
        def initialize(intake, label, ordered:)
          @intake = intake
          @ordered = ordered
          @lock = Mutex.new
          @changed = ConditionVariable.new
          @held = {}.compare_by_identity
          @pool = ThreadPool.new("event watch", label) { look }
        end

        # (see Executors)
        def start
          @pool.start(1)
        end

        # (see Executors)
        def retire
          @pool.retire
          @lock.synchronize do
            @retired = true
            @changed.broadcast
          end
        end

        # (see Executors)
        def join(deadline)
          @pool.join(deadline)
        end

        # Watches events while the block handles them, from the first on.
        # @param events [Array<Native::StreamEvent>] those that are given back are deleted from it
        # @return [Object] what the block returns
        def over(events)
          return yield if events.size == 1

          begin
            @lock.synchronize do
              @held[events] = true
              @changed.signal if @asleep
            end
            yield
          ensure
            @lock.synchronize { @held.delete(events) }
          end
        end

        # Deletes the first event, which was handled.
        # @param events [Array<Native::StreamEvent>]
        # @return [void]
        def advance(events)
          @lock.synchronize { events.shift }
        end

        private

        # @return [Boolean] false once the consumer stops
        def look
          running = @lock.synchronize { running_for_long }
          # If the thread were killed in between, nobody would handle these events.
          Thread.handle_interrupt(Object => :never) do
            back = @lock.synchronize { running.flat_map { |events, first| behind(events, first) } }
            @intake.give_back(back) unless back.empty?
          end
          !@retired
        end

        # @return [Array<Array(Array, Native::StreamEvent)>] each watched list, with the event that ran in it before the
        #   wait
        def running_for_long
          wait_for_events
          running = @held.each_key.map { |events| [events, events.first] }
          @changed.wait(@lock, PATIENCE) unless @retired
          @retired ? [] : running
        end

        def wait_for_events
          until @retired || !@held.empty?
            @asleep = true
            @changed.wait(@lock)
          end
        ensure
          @asleep = false
        end

        # Deletes the events that need not wait for the first, if that one still runs.
        # @return [Array<Native::StreamEvent>] the deleted events
        def behind(events, first)
          return [] unless events.first.equal?(first) && @held.key?(events)

          back = events.drop(1)
          back.reject! { |event| event.key_hash == first.key_hash } if @ordered
          back.each { |event| events.delete_if { |one| one.equal?(event) } }
        end
      end
    end
  end
end

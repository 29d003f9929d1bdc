# frozen_string_literal: true

module RedisIPC
  module Events
    module Executors
      class Processes
        # Sends events to workers, and carries out the workers' verdicts.
        # @api private
        class Errands
          # The most events of batches that are remembered because a worker died with them.
          SUSPECTS = 10_000
          private_constant :SUSPECTS

          # @return [Setup]
          attr_reader :setup
          # @return [Settlement]
          attr_reader :settlement

          # @param setup [Setup]
          # @param settlement [Settlement]
          def initialize(setup, settlement)
            @setup = setup
            @settlement = settlement
            @suspects = {}
          end

          # From now on workers are killed because the consumer stops. That is no fault of their events.
          def stop
            @stopped = true
          end

          # @return [Boolean]
          def stopped?
            @stopped ? true : false
          end

          # @param seat [Seat]
          # @param engine [Native::EventConsumer]
          # @param events [Array<Native::StreamEvent>]
          # @return [Boolean] false if events are left that were not begun
          # @raise (see Slot#worker)
          def run(seat, engine, events)
            parts(events).all? { |part| Errand.new(self, engine, part).run(seat) }
          end

          # Remembers events with which a worker died. One of them killed it, or all of them together. A
          # transaction is never divided.
          def suspect(events)
            return if events.size == 1 || setup.delivery == TransactionDelivery

            events.each { |event| @suspects[event.id] = true }
            @suspects.shift while @suspects.size > SUSPECTS
          end

          # Forgets events that are settled.
          def acquit(events)
            events.each { |event| @suspects.delete(event.id) } unless @suspects.empty?
          end

          private

          # Splits a batch: events with which a worker died before are handled one by one. Otherwise one of them would
          # take its whole batch to the dead letters.
          def parts(events)
            return [events] if @suspects.empty?

            events.chunk_while { |one, other| [one, other].none? { |event| @suspects.key?(event.id) } }
          end
        end

        # Events that were taken together, while a worker has them.
        # @api private
        class Errand
          # @param errands [Errands]
          # @param engine [Native::EventConsumer]
          # @param events [Array<Native::StreamEvent>]
          def initialize(errands, engine, events)
            @errands = errands
            @settlement = errands.settlement
            @engine = engine
            @events = events
            @left = events.to_h { |event| [event, true] }.compare_by_identity
          end

          # @param seat [Seat]
          # @return [Boolean] false if events are left that were not begun
          # @raise (see Slot#worker)
          def run(seat)
            connection = hand_out(seat)
            return false unless connection

            handed_out = true
            ended = follow(connection)
            return @left.empty? if ended
            return true if @errands.stopped?

            died(seat.worker)
            false
          ensure
            stopped(seat.worker) if handed_out && ended.nil?
          end

          private

          # Hands the events to a worker. If a worker has died since its last event, it has not begun these. If the next
          # one dies while it reads them, that counts as a try.
          # @return [Connection, nil] nil if the consumer stops
          def hand_out(seat)
            message = Wire.events(@events)
            connection = nil
            2.times do
              connection = seat.connection
              return connection if connection.nil? || connection.write(message)
              return if seat.slot.finished?

              # The worker is about to end. Until it has, it would be taken for alive.
              seat.worker.kill
            end
            connection
          end

          # Carries out verdicts.
          # @return [Boolean] whether there was a verdict on every event
          def follow(connection)
            until @left.empty?
              verdict = connection.read
              return false unless verdict

              letter, *words = Wire.read_verdict(verdict)
              return true if letter == Wire::ENDED

              @settlement.guarded { carry_out(letter, *words) }
            end
            true
          end

          def carry_out(letter, places, word = nil)
            events = @events.values_at(*places)
            events.each { |event| @left.delete(event) }
            @errands.acquit(events) unless letter == Wire::RETRY
            case letter
            when Wire::DONE then @engine.done(events)
            when Wire::SKIP then @engine.skip(events)
            when Wire::REFUSE then @engine.refuse(events)
            when Wire::RETRY then @engine.retry(events.first, word)
            when Wire::BURY then @engine.bury(events.first, word)
            else @engine.give_back(events)
            end
          end

          # The worker has died with the events that are left. It had begun all of a batch, but only the first of single
          # events, because those are handled in their order.
          def died(worker)
            worker.kill
            fail_begun("the worker process #{worker.pid} #{worker.ending} while it handled the event")
          end

          # The feeder was killed, so nobody would read the worker's verdicts.
          def stopped(worker)
            worker.kill
            fail_begun("the handler was stopped before it finished: the thread of its worker was killed (Thread#kill)")
          end

          def fail_begun(text)
            begun = @errands.setup.batch ? @left.keys : @left.keys.first(1)
            @errands.suspect(begun)
            begun.each do |native|
              @left.delete(native)
              event = ChangeEvent.new(native, @errands.setup.format)
              error = WorkerDiedError.new(text, stream: event.source, entry_id: event.position)
              @settlement.carry_out(@engine, native, event, @settlement.judge(error, event))
            end
          end
        end
      end
    end
  end
end

# frozen_string_literal: true

module RedisIPC
  module Events
    module Executors
      class Processes
        # A slot for a worker process. When the worker dies, another one takes its place.
        # @api private
        class Slot
          # @return [Array<Seat>]
          attr_reader :seats

          # @param process [WorkerProcess] what workers run
          # @param threads [Integer] how many threads a worker has
          def initialize(process, threads)
            @process = process
            @seats = Array.new(threads) { |number| Seat.new(self, number) }
            @mutex = Mutex.new
          end

          # Returns the worker, and forks one if there is none.
          # @return [Worker, nil] nil once the consumer stops
          # @raise [SystemCallError, ThreadError] if there can be no more processes, or threads
          def worker
            @mutex.synchronize do
              next if @finished
              next @worker if @worker&.alive?

              let_go
              # Nothing else knows of the process until the variable is set.
              Thread.handle_interrupt(Object => :never) { @worker = Worker.new(@process, @seats.size) }
            end
          end

          # Lets the worker finish what it has begun, and end then.
          def finish
            @mutex.synchronize do
              @finished = true
              @worker&.finish
            end
          end

          # @return [Boolean] whether the worker has events
          def busy?
            @seats.any?(&:occupied?)
          end

          # @param seconds [Numeric]
          def join(seconds)
            @worker&.join(seconds)
          end

          # Ends the worker at once.
          def kill
            @worker&.kill
          end

          # @return [Boolean] whether the consumer stops
          def finished?
            @finished ? true : false
          end

          # Closes everything that is left.
          def close
            @seats.each(&:close)
            let_go
          end

          private

          # Closes what belongs to a dead worker, except connections that may still hold verdicts: their feeders close
          # those.
          def let_go
            @worker&.close { |number| @seats[number].reads?(@worker) }
            @worker = nil
          end
        end

        # A feeder's end of the connection to its thread of a worker.
        # @api private
        class Seat
          # @return [Slot]
          attr_reader :slot
          # @return [Worker, nil] the worker to which it is connected
          attr_reader :worker

          # @param slot [Slot]
          # @param number [Integer] which of the worker's threads it is
          def initialize(slot, number)
            @slot = slot
            @number = number
          end

          # @return [Connection, nil] to a living worker, which may be forked for this; nil once the consumer stops
          # @raise (see Slot#worker)
          def connection
            worker = @slot.worker
            unless worker.equal?(@worker)
              close
              @worker = worker
              @connection = worker&.connections&.at(@number)
            end
            @connection
          end

          # Marks the worker as busy while the block runs.
          def occupied
            @occupied = true
            yield
          ensure
            @occupied = false
          end

          # @return [Boolean]
          def occupied?
            @occupied ? true : false
          end

          # @param worker [Worker]
          # @return [Boolean] whether the feeder still reads the verdicts of that worker
          def reads?(worker)
            occupied? && @worker.equal?(worker)
          end

          def close
            @connection&.close
            @connection = @worker = nil
          end
        end
      end
    end
  end
end

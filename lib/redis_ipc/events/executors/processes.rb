# frozen_string_literal: true

require "socket"
require_relative "processes/wire"
require_relative "processes/connection"
require_relative "processes/link"
require_relative "processes/worker_process"
require_relative "processes/worker"
require_relative "processes/seat"
require_relative "processes/errand"

module RedisIPC
  module Events
    module Executors
      # Runs handlers in forked worker processes, for handlers that compute. Only this process is connected as a
      # consumer: it takes events, sends them to the workers, and carries out their verdicts.
      #
      # For each thread of a worker there is a thread here, its feeder, and a socket between the two. So a feeder knows
      # which events its thread has, and which event was running when the worker died.
      # @api private
      class Processes
        # The thread variable that holds a feeder's seat.
        SEAT = :redis_ipc_seat
        # How long a worker without a running handler is given to end, in seconds.
        GRACE = 1
        # The pause after a worker could not be forked, in seconds.
        PAUSE = 1
        private_constant :SEAT, :GRACE, :PAUSE

        ProcessHooks.on_fork { Connection.after_fork }

        # @param who [String] the class
        # @raise [ConfigurationError] if this Ruby cannot fork
        def self.check(who)
          return if Process.respond_to?(:fork)

          Check.refuse("concurrency processes: of #{who} needs a system that can fork: use threads: here")
        end

        # @param setup [Setup]
        # @param label [String] for the names of threads and processes
        # @param intake [Intake]
        # @param handling [Handling]
        # @param settlement [Settlement]
        # @yieldparam exception [Exception] what nobody else reports
        def initialize(setup, label, intake, handling, settlement, &report)
          @intake = intake
          @report = report
          @errands = Errands.new(setup, settlement)
          process = WorkerProcess.new(setup, label, handling, &report)
          concurrency = setup.concurrency
          @slots = Array.new(concurrency.size) { Slot.new(process, concurrency.threads) }
          @seats = Thread::Queue.new(@slots.flat_map(&:seats))
          @feeders = ThreadPool.new("event feeder", label, ended: method(:leave)) { feed }
        end

        # (see Executors)
        # @raise [Error] if a process cannot be forked
        def start
          @slots.each(&:worker)
          @feeders.start(@seats.size)
        rescue SystemCallError => e
          raise Error, "a worker process could not be forked: #{e.message}"
        end

        # (see Executors)
        def retire
          @feeders.retire
          @slots.each(&:finish)
        end

        # (see Executors)
        def join(deadline)
          @feeders.join(deadline)
          @slots.each { |slot| slot.join([deadline - Monotonic.now, slot.busy? ? 0 : GRACE].max) }
        end

        # Ends the workers that still run handlers. When the engine is closed, it hands back their events, and each
        # counts as a try.
        def kill
          @errands.stop
          @slots.each(&:kill)
          @feeders.join(Monotonic.now + GRACE)
          @slots.each(&:close)
        end

        # (see Executors)
        def current?
          @feeders.current?
        end

        # (see Executors)
        def alive?
          @feeders.alive?
        end

        private

        def feed
          seat = Thread.current.thread_variable_get(SEAT) || sit_down
          @intake.next { |engine, events| send_out(seat, engine, events) }
        end

        def sit_down
          @seats.pop.tap { |seat| Thread.current.thread_variable_set(SEAT, seat) }
        end

        def leave
          seat = Thread.current.thread_variable_get(SEAT)
          @seats << seat if seat
        end

        # @return [Boolean] false if events are left that were not begun
        def send_out(seat, engine, events)
          return false if @intake.stopping?

          sent = @intake.running.begin(events)
          seat.occupied { @errands.run(seat, engine, events) }
        rescue SystemCallError, ThreadError => e
          @report.call(Error.new("a worker process could not be forked: #{e.message}"))
          sleep(PAUSE) unless @intake.stopping?
          false
        ensure
          @intake.running.end(sent) if sent
        end
      end
    end
  end
end

# frozen_string_literal: true

module RedisIPC
  module Events
    module Executors
      class Processes
        # What runs in a worker process. Its threads handle the events that the parent sends, until the parent ends.
        # @api private
        class WorkerProcess
          # The signals that a worker ignores, because the parent ends its workers. A terminal and many supervisors send
          # them to all processes at once; a worker that ended by itself would drop its events. The handler is a block,
          # because programs that a handler starts would inherit IGNORE.
          SIGNALS = %w[INT TERM QUIT].freeze
          # How often, in seconds, a worker checks that its parent still exists. If another process has a copy of the
          # pipe, its end does not show that.
          PARENT = 5
          private_constant :SIGNALS, :PARENT

          # Takes events for a thread of this process.
          class Intake < Executors::Intake
            def initialize(link, setup)
              super(link, setup, RunningHandlers.new)
              @link = link
            end

            def stopping?
              @link.stopped?
            end

            def next(...)
              super
            ensure
              end_of_events
            end

            private

            def end_of_events
              @link.ended
            rescue NotConnectedError
              # This is a fork, or the parent has ended.
            end
          end
          private_constant :Intake

          # @param setup [Setup]
          # @param label [String] for the names of threads
          # @param handling [Handling]
          # @yieldparam exception [Exception] what nobody else reports
          def initialize(setup, label, handling, &report)
            @setup = setup
            @label = label
            @handling = handling
            @parent = Process.pid
            @report = report
          end

          # Runs until the parent ends the connections.
          # @param sockets [Array<UNIXSocket>] one for each thread
          # @param life [IO] ends with the parent
          # @return [void]
          def run(sockets, life)
            # Without this all workers would draw the same random numbers.
            srand
            SIGNALS.each { |signal| trap(signal) { nil } }
            Process.setproctitle("redis_ipc worker #{@label.delete("\0")} of #{@parent}")
            Connection.keep(life)
            watch(life)
            threads = sockets.map { |socket| threads_of(Connection.new(socket)) }
            threads.each(&:start)
            threads.each(&:wait)
            ProcessHooks.disconnect_all
          end

          private

          def threads_of(connection)
            intake = Intake.new(Link.new(connection), @setup)
            resources = Resources.new(@setup.resource, &@report) if @setup.resource
            Threads.new(1, @label, intake, @handling, resources)
          end

          # Ends this process when the parent has ended. The handlers of a killed process must not run on, because other
          # processes get its events.
          def watch(life)
            thread = Thread.new do
              nil until life.wait_readable(PARENT) || Process.ppid != @parent
              exit!
            end
            ThreadPool.name_thread(thread, "parent of #{@label}")
          end
        end
      end
    end
  end
end

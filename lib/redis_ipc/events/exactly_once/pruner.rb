# frozen_string_literal: true

module RedisIPC
  module Events
    class ExactlyOnce
      # Periodically deletes rows that nobody needs any more, in a thread of the process that is connected.
      # @api private
      class Pruner
        # Seconds.
        EVERY = 60
        private_constant :EVERY

        # @param setup [Setup]
        # @param label [String] for the name of the thread
        # @yieldparam exception [Exception] what the database raised
        def initialize(setup, label, &report)
          @setup = setup
          @label = label
          @report = report
          @mutex = Mutex.new
          @changed = ConditionVariable.new
        end

        # @param engine [Native::EventConsumer]
        # @return [void]
        def start(engine)
          return unless @setup.exactly_once

          @thread = Thread.new { prune(engine) until rested? }
          ThreadPool.name_thread(@thread, "event pruner #{@label}")
        end

        # (see ThreadPool#retire)
        def retire
          @mutex.synchronize do
            @retired = true
            @changed.broadcast
          end
        end

        # (see ThreadPool#join)
        def join(deadline)
          @thread&.join([deadline - Monotonic.now, 0].max)
        end

        # (see ThreadPool#current?)
        def current?
          Thread.current.equal?(@thread)
        end

        private

        # Waits for about a period. The time is random, so that not all processes prune at the same moment.
        # @return [Boolean] whether the consumer has stopped
        def rested?
          @mutex.synchronize do
            @changed.wait(@mutex, EVERY * rand(0.5..1.5)) unless @retired
            @retired
          end
        end

        def prune(engine)
          floor = @setup.source.floor(engine)
          @setup.exactly_once&.prune(floor) { !@retired }
        rescue CallError
          # The consumer itself reports if Redis cannot be reached.
        rescue StandardError => e
          @report.call(e)
        end
      end
    end
  end
end

# frozen_string_literal: true

module RedisIPC
  module Events
    module Executors
      # Runs handlers in threads. Each thread takes events when it is free. A killed thread is replaced.
      # @api private
      class Threads
        # @param size [Integer] how many threads
        # @param label [String] for their names
        # @param intake [Intake]
        # @param handling [Handling]
        # @param resources [Resources, Ractors, nil] what each thread owns
        def initialize(size, label, intake, handling, resources)
          @size = size
          @intake = intake
          @handling = handling
          @resources = resources
          @watch = handling.watch
          @pool = ThreadPool.new("event worker", label, ended: resources&.method(:leave)) { serve }
        end

        # (see Executors)
        def start
          @pool.start(@size)
          @watch&.start
        end

        # (see Executors)
        def retire
          @pool.retire
          @watch&.retire
        end

        # (see Executors)
        def join(deadline)
          @pool.join(deadline)
          @watch&.join(deadline)
        end

        # Waits until all threads have ended by themselves.
        # @return [void]
        def wait
          @pool.wait
        end

        # Does nothing, because Ruby code that runs in a thread cannot be ended safely.
        def kill; end

        # (see Executors)
        def current?
          @pool.current?
        end

        # (see Executors)
        def alive?
          @pool.alive?
        end

        private

        def serve
          @resources&.enter
          @intake.next { |engine, events| @handling.call(engine, events, @intake) }
        end
      end
    end
  end
end

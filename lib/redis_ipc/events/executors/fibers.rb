# frozen_string_literal: true

module RedisIPC
  module Events
    module Executors
      # Runs handlers in fibers of one thread, under Async's scheduler: while a handler waits for I/O, others run.
      #
      # Another thread takes events from the engine, for as many fibers as are free, because the engine blocks its
      # thread while it waits. Each event (or batch) gets a new fiber and one of the places; there are as many places as
      # handlers may run. A fiber goes on with the next event if the engine has one ready, which saves a switch between
      # the threads.
      # @api private
      class Fibers
        # A place for a fiber.
        Place = Class.new
        # After this many events a fiber lets the others run, because its handlers may not have waited for anything.
        IN_A_ROW = 16
        private_constant :Place, :IN_A_ROW

        # @param who [String] the class
        # @raise [ConfigurationError] if handlers cannot run in fibers here
        def self.check(who)
          require "async"
          check_active_record(who)
        rescue LoadError
          Check.refuse("concurrency fibers: of #{who} needs the gem async: add it to the Gemfile")
        end

        # Checks that ActiveRecord isolates connections by fiber. Otherwise one fiber's statements would end up in
        # another's transaction.
        def self.check_active_record(who)
          return unless defined?(ActiveRecord::Base)

          state = ActiveSupport::IsolatedExecutionState if defined?(ActiveSupport::IsolatedExecutionState)
          return if state&.isolation_level == :fiber

          Check.refuse("concurrency fibers: of #{who} needs config.active_support.isolation_level = :fiber, of Rails " \
                       "7.0 and later: without it, ActiveRecord gives all fibers of a thread the same connection")
        end
        private_class_method :check_active_record

        # @param size [Integer] how many fibers
        # @param label [String] for the names of the threads
        # @param intake [Intake]
        # @param handling [Handling]
        # @param resource [#call, nil] makes a worker's resource
        # @yieldparam exception [Exception] what closing a resource raised
        def initialize(size, label, intake, handling, resource, &report)
          @intake = intake
          @handling = handling
          @free = Thread::Queue.new(Array.new(size) { Place.new })
          @taken = Thread::Queue.new
          @places = {}.compare_by_identity
          @resources = Resources.new(resource, method(:current_place), &report) if resource
          @taker = ThreadPool.new("event taker", label, ended: method(:taker_ended)) { take }
          @reactor = ThreadPool.new("event fibers", label, ended: @resources&.method(:leave_all)) { run_fibers }
        end

        # (see Executors)
        def start
          @reactor.start(1)
          @taker.start(1)
        end

        # (see Executors)
        def retire
          @retired = true
          @reactor.retire
          @taker.retire
        end

        # (see Executors)
        def join(deadline)
          @taker.join(deadline)
          @reactor.join(deadline)
        end

        # Does nothing, because Ruby code that runs in a thread cannot be ended safely.
        def kill; end

        # (see Executors)
        def current?
          @reactor.current?
        end

        # (see Executors)
        def alive?
          @reactor.alive?
        end

        private

        # Takes events while a place is free.
        def take
          # Only this thread takes places, so the places that it sees now are still free when events come.
          Thread.handle_interrupt(Object => :on_blocking) { @free << @free.pop }
          @intake.hand_over(@free.size) do |engine, groups|
            groups.each { |events| @taken << [engine, events, @free.pop] }
          end
        end

        def taker_ended
          @taken.close if @retired
        end

        # @return [Boolean] false once the consumer stops
        def run_fibers
          @resources&.enter
          Async do |task|
            while (engine, events, place = @taken.pop)
              task.async { |fiber| serve(fiber, place, engine, events) }
            end
          end
          false
        end

        def serve(task, place, engine, events)
          @places[task] = place
          (1..).each do |count|
            handle(engine, events)
            sleep(0) if (count % IN_A_ROW).zero?
            events = @intake.ready or break
          end
        ensure
          @places.delete(task)
          @free << place
        end

        def handle(engine, events)
          finished = @handling.call(engine, events, @intake)
        ensure
          @intake.give_back(events) unless finished
        end

        # Returns the place of the current fiber, or of the fiber that started it.
        def current_place
          task = Async::Task.current?
          task = task.parent until task.nil? || @places.key?(task)
          raise Error, "no handler runs in this fiber" if task.nil?

          @places[task]
        end
      end
    end
  end
end

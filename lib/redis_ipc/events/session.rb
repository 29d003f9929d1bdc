# frozen_string_literal: true

module RedisIPC
  module Events
    # A session is one connected period of a consumer in one process.
    # @api private
    class Session < EngineSession
      # How many events a thread takes at once, at most. The core hands out several only where handlers are quick.
      MOST = 64
      private_constant :MOST

      # @return [Setup]
      attr_reader :settings

      # @param setup [Setup]
      # @param report [#call] tells the user of an error
      # @param reconnected [#call] is called with the seconds of an outage that is over
      def initialize(setup, report:, reconnected:)
        @settings = setup
        @report = report
        @reconnected = reconnected
        @resources = Resources.new(setup.resource, &report) if setup.resource
        label = "#{setup.stream}/#{setup.group}"
        @reporter = ThreadPool.new("event reporter", label) { tell_one }
        workers = ThreadPool.new("event worker", label, ended: @resources&.method(:leave)) { serve_some }
        super(label, setup.callables, workers: workers, others: [@reporter]) do |logins|
          Native::EventConsumer.start(setup.stream, setup.group, setup.core, logins)
        end
      end

      def reconnect_after_fork?
        settings.reconnect_after_fork
      end

      # Starts the threads.
      # @param delivery [Delivery, BatchDelivery] runs what was taken
      # @return [self]
      def run(delivery)
        @delivery = delivery
        @workers.start(settings.threads)
        @reporter.start(1)
        self
      end

      # Stops the intake. What threads hold and have not begun is handed back.
      def quiet
        @stopping = true
        super
      end

      def close(timeout)
        @stopping = true
        super
      end

      private

      def serve_some
        @resources&.enter
        settings.batch ? serve_batch : serve_each
      end

      # Takes events and handles them. The thread can be killed while it waits for them or handles one, but not in
      # between: nobody else would handle what it has taken.
      def serve_each
        finished = events = nil
        Thread.handle_interrupt(Object => :on_blocking) do
          events = @engine.take(MOST)
          finished = events.nil? || Thread.handle_interrupt(Object => :immediate) { handle(events) }
        end
        !events.nil? && !abandoned?
      ensure
        # The consumer stops, or the thread was killed: other threads, or other processes, handle the rest.
        give_back(events) if events && !finished
      end

      # @return [Boolean] whether all of them were handled
      def handle(events)
        events.each do |event|
          return false if @stopping

          @delivery.call(@engine, event)
        end
        true
      end

      def serve_batch
        finished = events = nil
        Thread.handle_interrupt(Object => :on_blocking) do
          events = @engine.take_batch(*settings.batch)
          Thread.handle_interrupt(Object => :immediate) { @delivery.call(@engine, events) } if events
          finished = true
        end
        !events.nil? && !abandoned?
      ensure
        give_back(events) if events && !finished
      end

      # Gives back what of these is not settled.
      def give_back(events)
        @engine.give_back(events)
      rescue NotConnectedError
        # This is a fork, or the engine is closed and has given them back.
      end
    end
    private_constant :Session
  end
end

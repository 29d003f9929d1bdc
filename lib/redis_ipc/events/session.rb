# frozen_string_literal: true

module RedisIPC
  module Events
    # A session is one connected period of a consumer in one process.
    # @api private
    class Session < EngineSession
      # @return [Setup]
      attr_reader :settings

      # @param setup [Setup]
      # @param report [#call] reports an error to the user
      # @param reconnected [#call] is called with the seconds of an outage that is over
      # @param lost [#call] is called with a {Loss}
      def initialize(setup, report:, reconnected:, lost:)
        @settings = setup
        @report = report
        @reconnected = reconnected
        @lost = lost
        label = setup.title
        @reporter = ThreadPool.new("event reporter", label) { tell_one }
        @pruner = ExactlyOnce::Pruner.new(setup, label, &report)
        @losses = Hash.new(0)
        @counting = Mutex.new
        super(label, setup.callables, workers: nil, others: [@reporter, @pruner], labels: labels_of(setup)) do |logins|
          Native::EventConsumer.start(setup.stream, setup.group.to_s, setup.core, logins)
        end
        @intake = Executors::Intake.new(@engine, setup, running) { |told| tell_loss(told) }
      end

      def reconnect_after_fork?
        settings.reconnect_after_fork
      end

      # (see EngineSession#losses)
      def losses
        @losses.dup
      end

      # @return [Integer] how many handlers may run at the same time; 0 if the core forwards the events itself
      def handlers
        settings.forwarding && !settings.forwarding.asked? ? 0 : settings.concurrency.handlers
      end

      # Starts the workers.
      # @param delivery [Delivery, BatchDelivery] handles the events
      # @return [self]
      def run(delivery)
        @workers = Executors.build(settings, @intake, delivery, @label, &@report)
        @workers.start
        @reporter.start(1)
        @pruner.start(@engine)
        self
      end

      # Stops the intake. Hands back what workers hold and have not begun.
      def quiet
        @intake.stop
        super
      end

      def close(timeout)
        @intake.stop
        super
      end

      private

      def pass_on(report)
        case report.kind
        when :loss then tell_loss(report.loss)
        when :slow then (note_frame(report.id) if settings.concurrency.kind == :threads)
        else super
        end
      end

      # Notes for the record where a handler is that runs for long, unless it has just ended.
      def note_frame(id)
        one = running.to_a.find { |it| it.subject.first&.id == id }
        @engine.note_frame(id, ApplicationFrame.of(one.thread.backtrace || [])) if one&.thread
      end

      def labels_of(setup)
        { kind: "events", source: setup.source.kind.name, stream: setup.stream, group: setup.group.to_s,
          consumer: setup.name }
      end

      # @param told [Hash{Symbol => Object}] the loss from the core
      def tell_loss(told)
        @counting.synchronize { @losses[told[:cause]] += 1 }
        @lost.call(Loss.new(told))
      end

      # Ends handlers that still run, if the executor can.
      def wait_for_answers(_deadline)
        @workers&.kill
      end
    end
    private_constant :Session
  end
end

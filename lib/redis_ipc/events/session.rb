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
        super(label, setup.callables, workers: nil, others: [@reporter, @pruner]) do |logins|
          Native::EventConsumer.start(setup.stream, setup.group.to_s, setup.core, logins)
        end
        @intake = Executors::Intake.new(@engine, setup) { |told| @lost.call(Loss.new(told)) }
      end

      def reconnect_after_fork?
        settings.reconnect_after_fork
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
        report.kind == :loss ? @lost.call(Loss.new(report.loss)) : super
      end

      # Ends handlers that still run, if the executor can.
      def wait_for_answers(_deadline)
        @workers&.kill
      end
    end
    private_constant :Session
  end
end

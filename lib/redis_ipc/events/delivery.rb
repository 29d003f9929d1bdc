# frozen_string_literal: true

module RedisIPC
  module Events
    # Handles events one by one: runs the handler, and settles the event by what that did.
    # @api private
    class Delivery
      # @return [Settlement]
      attr_reader :settlement

      # @param setup [Setup]
      # @param settlement [Settlement]
      def initialize(setup, settlement)
        @setup = setup
        @pipeline = HandlerPipeline.new(setup)
        @settlement = settlement
      end

      # @param engine [Native::EventConsumer]
      # @param native [Native::StreamEvent]
      # @return [Boolean] whether the event is done, or discarded
      def call(engine, native)
        event = ChangeEvent.new(native, @setup.format)
        decision = nil
        judge = ->(error) { @settlement.decide(error || event.failure, event) }
        decision = @pipeline.run(event, judge) { @setup.invoker.event(event) }
        @settlement.carry_out(engine, native, event, decision)
        decision.done?
      ensure
        @settlement.stopped(engine, native, event || ChangeEvent.new(native, @setup.format)) if decision.nil?
      end
    end
    private_constant :Delivery
  end
end

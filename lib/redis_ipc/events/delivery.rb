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
        decision = is_known = nil
        judge = ->(error) { is_known && error.nil? ? RetryPolicy::SKIP : judge(error, native, event) }
        decision = @pipeline.run(event, judge) { is_known = handle(native, event) }
        @settlement.carry_out(engine, native, event, decision)
        decision.done?
      ensure
        @settlement.stopped(engine, native, event || ChangeEvent.new(native, @setup.format)) if decision.nil?
      end

      private

      # @return [Boolean] whether it was done before
      def handle(native, event)
        exactly_once = @setup.exactly_once
        return exactly_once.event(native, event) { @setup.invoker.event(event) } == :skipped if exactly_once

        @setup.invoker.event(event)
        false
      end

      def judge(error, native, event)
        @settlement.judge(error || event.failure, native, event)
      end
    end
    private_constant :Delivery
  end
end

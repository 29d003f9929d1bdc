# frozen_string_literal: true

module RedisIPC
  module Events
    # Handles events one by one: runs the handler, and settles the event by the result.
    # @api private
    class Delivery
      # @return [Settlement]
      attr_reader :settlement

      # @param setup [Setup]
      # @param settlement [Settlement]
      def initialize(setup, settlement)
        @setup = setup
        @pipeline = HandlerPipeline.new(setup, self)
        @settlement = settlement
      end

      # @param engine [Native::EventConsumer]
      # @param native [Native::StreamEvent]
      # @return [Boolean] whether the event is done, or discarded
      def call(engine, native)
        event = ChangeEvent.new(native, @setup.format)
        decision = @pipeline.run(event, native)
        @settlement.carry_out(engine, native, event, decision)
        decision.done?
      rescue SystemExit, SignalException => e
        ended_by = e
        raise
      ensure
        event ||= ChangeEvent.new(native, @setup.format)
        @settlement.stopped(engine, [native], event, ended_by) if decision.nil?
      end

      # Runs the handler, for {HandlerPipeline}.
      # @return [Boolean] whether the event was done before
      def run_handler(event, native)
        exactly_once = @setup.exactly_once
        return exactly_once.event(native, event) { @setup.invoker.event(event) } == :skipped if exactly_once

        @setup.invoker.event(event)
        false
      end

      # Decides by the result of the handler, for {HandlerPipeline}.
      # @return [RetryPolicy::Decision]
      def judge(error, event, _native, is_known)
        error ||= event.failure
        return is_known ? RetryPolicy::SKIP : RetryPolicy::DONE if error.nil?

        @settlement.judge(error, event)
      end
    end
    private_constant :Delivery
  end
end

# frozen_string_literal: true

module RedisIPC
  module Events
    # Handles the changes of a transaction together: they are done together, or tried again together.
    # @api private
    class TransactionDelivery
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
      # @param natives [Array<Native::StreamEvent>]
      # @return [void]
      def call(engine, natives)
        transaction = transaction_of(natives)
        decision = @pipeline.run(transaction, natives)
        @settlement.carry_out_all(engine, natives, transaction, decision)
      rescue SystemExit, SignalException => e
        ended_by = e
        raise
      ensure
        transaction ||= transaction_of(natives)
        @settlement.stopped(engine, natives, transaction, ended_by) if decision.nil?
      end

      # Runs the handler, for {HandlerPipeline}.
      def run_handler(transaction, _natives)
        exactly_once = @setup.exactly_once
        return @setup.invoker.transaction(transaction) unless exactly_once

        # A transaction that comes again may be divided into other parts, of which some changes are done.
        exactly_once.batch(transaction.events, []) do |rest|
          rest = CommittedTransaction.new(rest)
          @setup.invoker.transaction(rest)
          failed(rest)&.then { |failure| raise failure }
        end
      end

      # Judges what the handler did, for {HandlerPipeline}. A change that was marked as failed fails all of them.
      # @return [RetryPolicy::Decision]
      def judge(error, transaction, _natives, _outcome)
        error ||= failed(transaction)
        error ? @settlement.judge(error, transaction) : RetryPolicy::DONE
      end

      private

      def transaction_of(natives)
        CommittedTransaction.new(natives.map { |native| ChangeEvent.new(native, @setup.format) })
      end

      # @return [Exception, nil]
      def failed(transaction)
        transaction.events.lazy.filter_map(&:failure).first
      end
    end
    private_constant :TransactionDelivery
  end
end

# frozen_string_literal: true

module RedisIPC
  module Events
    # Handles events in batches: runs the handler, and settles each event by what that did. A batch that raises is split
    # in two until the events that fail are found.
    # @api private
    class BatchDelivery
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
      # @param natives [Array<Native::StreamEvent>]
      # @return [void]
      def call(engine, natives)
        left = Left.new(engine, natives, ordered: @setup.ordered?)
        handle(engine, readable(engine, natives, left), left)
      ensure
        # The thread was killed.
        left&.each { |native| @settlement.stopped(engine, native, ChangeEvent.new(native, @setup.format)) }
      end

      private

      # @return [Array<Array(Native::StreamEvent, ChangeEvent)>]
      def with_events(natives)
        natives.map { |native| [native, ChangeEvent.new(native, @setup.format)] }
      end

      # Takes those out that cannot be read: the handler could not say which it was.
      # @return [Array<Array(Native::StreamEvent, ChangeEvent)>] the others
      def readable(engine, natives, left)
        with_events(natives).select do |native, event|
          event.data
        rescue MalformedEntryError => e
          fail_one(engine, native, event, e, left)
          false
        else
          true
        end
      end

      def handle(engine, pairs, left)
        pairs = left.ready(pairs)
        return if pairs.empty?

        error, pairs = outcome_of(engine, pairs, left)
        return refused(engine, pairs, error, left) if error.is_a?(StaleOwnerError)
        return split(engine, pairs, left) if error && pairs.size > 1 && !@setup.policy.expected?(error)

        settle(engine, pairs, error, left)
      end

      # A part that is tried again knows nothing of the marks that the whole was given.
      def handle_again(engine, pairs, left)
        handle(engine, with_events(pairs.map(&:first)), left)
      end

      # @return [Array(Exception, Array)] what was raised, if anything, and the events that were not done before
      def outcome_of(engine, pairs, left)
        judge = ->(error) { error ? RetryPolicy::Decision.new(:fail, error) : RetryPolicy::DONE }
        events = pairs.map(&:last)
        known = []
        error = @pipeline.run(events, judge) { run(pairs, events, known) }.error
        return [error, pairs] if known.empty?

        known.each { |native| left.delete(native) }
        @settlement.skip(engine, known)
        [error, pairs.reject { |pair| known.include?(pair.first) }]
      end

      def run(pairs, events, known)
        exactly_once = @setup.exactly_once
        return @setup.invoker.batch(events) unless exactly_once

        exactly_once.batch(pairs, known) { |rest| @setup.invoker.batch(rest) }
      end

      # The database has refused the batch, because the lane of some is another process's. The others are handled again.
      def refused(engine, pairs, error, left)
        stale, others = pairs.partition { |native, _| native.lane == error.lane }
        stale = stale.map(&:first).each { |native| left.delete(native) }
        @settlement.refuse(engine, stale, error)
        handle_again(engine, others, left)
      end

      def split(engine, pairs, left)
        pairs.each_slice((pairs.size / 2.0).ceil) { |half| handle_again(engine, half, left) }
      end

      def settle(engine, pairs, error, left)
        failed, done = pairs.partition { |_, event| error || event.failure }
        @settlement.done(engine, done.map { |native, _| left.delete(native) && native })
        failed.each { |native, event| fail_one(engine, native, event, error || event.failure, left) }
      end

      def fail_one(engine, native, event, error, left)
        decision = @settlement.judge(error, native, event)
        decision.done? ? left.delete(native) : left.fail(native)
        @settlement.carry_out(engine, native, event, decision)
      end

      # The events of a batch that are not settled.
      class Left
        # @param ordered [Boolean] whether later events of a key wait for one that failed
        def initialize(engine, natives, ordered:)
          @engine = engine
          @natives = natives.to_h { |native| [native, true] }.compare_by_identity
          @failed = ({} if ordered)
        end

        def delete(native)
          @natives.delete(native)
        end

        def fail(native)
          delete(native)
          @failed[native.key_hash] = true if @failed
        end

        # Gives back those that wait for one that failed.
        # @return [Array<Array(Native::StreamEvent, ChangeEvent)>] the others
        def ready(pairs)
          return pairs if @failed.nil? || @failed.empty?

          waiting, ready = pairs.partition { |native, _| @failed.key?(native.key_hash) }
          waiting = waiting.map(&:first).each { |native| delete(native) }
          @engine.give_back(waiting) unless waiting.empty?
          ready
        end

        def each(&block)
          @natives.each_key(&block)
        end
      end
      private_constant :Left
    end
    private_constant :BatchDelivery
  end
end

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

      # Takes those out that cannot be read: the handler could not say which it was.
      def readable(engine, natives, left)
        natives.select do |native|
          event = ChangeEvent.new(native, @setup.format)
          event.data
        rescue MalformedEntryError => e
          fail_one(engine, native, event, e, left)
          false
        else
          true
        end
      end

      def handle(engine, natives, left)
        natives = left.ready(natives)
        return if natives.empty?

        # A half that is tried again knows nothing of the marks that the whole was given.
        events = natives.map { |native| ChangeEvent.new(native, @setup.format) }
        error, natives, events = outcome_of(engine, natives, events, left)
        return refused(engine, natives, error, left) if error.is_a?(StaleOwnerError)
        return split(engine, natives, left) if error && natives.size > 1 && !@setup.policy.expected?(error)

        settle(engine, natives.zip(events), error, left)
      end

      # @return [Array(Exception, Array, Array)] what was raised, if anything, and the events that were not done before
      def outcome_of(engine, natives, events, left)
        judge = ->(error) { error ? RetryPolicy::Decision.new(:fail, error) : RetryPolicy::DONE }
        known = []
        error = @pipeline.run(events, judge) { run(natives, events, known) }.error
        return [error, natives, events] if known.empty?

        known.each { |native| left.delete(native) }
        @settlement.skip(engine, known)
        _, rest = natives.zip(events).partition { |native, _| known.include?(native) }
        [error, rest.map(&:first), rest.map(&:last)]
      end

      def run(natives, events, known)
        exactly_once = @setup.exactly_once
        return @setup.invoker.batch(events) unless exactly_once

        exactly_once.batch(natives.zip(events), known) { |rest| @setup.invoker.batch(rest) }
      end

      # The database has refused the batch, because the lane of some is another process's. The others are handled again.
      def refused(engine, natives, error, left)
        stale, others = natives.partition { |native| native.lane == error.lane }
        stale.each { |native| left.delete(native) }
        @settlement.refuse(engine, stale, error)
        handle(engine, others, left)
      end

      def split(engine, natives, left)
        natives.each_slice((natives.size / 2.0).ceil) { |half| handle(engine, half, left) }
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
        # @return [Array<Native::StreamEvent>] the others
        def ready(natives)
          return natives if @failed.nil? || @failed.empty?

          waiting, ready = natives.partition { |native| @failed.key?(native.key_hash) }
          waiting.each { |native| delete(native) }
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

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
        @pipeline = HandlerPipeline.new(setup, self)
        @settlement = settlement
      end

      # @param engine [Native::EventConsumer]
      # @param natives [Array<Native::StreamEvent>]
      # @return [void]
      def call(engine, natives)
        left = Left.new(engine, natives, ordered: @setup.ordered?)
        handle(engine, readable(engine, natives, left), left)
      rescue SystemExit, SignalException => e
        ended_by = e
        raise
      ensure
        left&.each { |native| @settlement.stopped(engine, native, ChangeEvent.new(native, @setup.format), ended_by) }
      end

      # Runs the handler, for {HandlerPipeline}.
      # @param events [Array<ChangeEvent>]
      # @param known [Array<Native::StreamEvent>] those that were done before are added to it
      def run_handler(events, known)
        exactly_once = @setup.exactly_once
        return @setup.invoker.batch(events) unless exactly_once

        exactly_once.batch(events, known) { |rest| @setup.invoker.batch(rest) }
      end

      # Judges what the handler did, for {HandlerPipeline}.
      # @return [RetryPolicy::Decision]
      def judge(error, _events, _known, _outcome)
        error ? RetryPolicy::Decision.new(:fail, error) : RetryPolicy::DONE
      end

      private

      # @return [Array<ChangeEvent>]
      def events_of(natives)
        natives.map { |native| ChangeEvent.new(native, @setup.format) }
      end

      # Takes those out that cannot be read: the handler could not say which it was.
      # @return [Array<ChangeEvent>] the others
      def readable(engine, natives, left)
        events_of(natives).select do |event|
          event.data
        rescue MalformedEntryError => e
          fail_one(engine, event, e, left)
          false
        else
          true
        end
      end

      def handle(engine, events, left)
        events = left.ready(events)
        return if events.empty?

        error, events = outcome_of(engine, events, left)
        return refused(engine, events, error, left) if error.is_a?(StaleOwnerError)
        return split(engine, events, left) if error && events.size > 1 && !@setup.policy.expected?(error)

        settle(engine, events, error, left)
      end

      # A part that is tried again knows nothing of the marks that the whole was given.
      def handle_again(engine, events, left)
        handle(engine, events_of(events.map(&:native)), left)
      end

      # @return [Array(Exception, Array<ChangeEvent>)] what was raised, if anything, and the events that were not done
      #   before
      def outcome_of(engine, events, left)
        known = []
        error = @pipeline.run(events, known).error
        return [error, events] if known.empty?

        left.settle(known)
        @settlement.skip(engine, known)
        [error, events.reject { |event| known.include?(event.native) }]
      end

      # The database has refused the batch, because the lane of some is another process's. The others are handled again.
      def refused(engine, events, error, left)
        stale, others = events.partition { |event| event.native.lane == error.lane }
        stale = left.settle(stale.map(&:native))
        @settlement.refuse(engine, stale, error)
        handle_again(engine, others, left)
      end

      def split(engine, events, left)
        events.each_slice((events.size / 2.0).ceil) { |half| handle_again(engine, half, left) }
      end

      def settle(engine, events, error, left)
        failed = error ? events : events.select(&:failure)
        done = failed.empty? ? events : events - failed
        @settlement.done(engine, left.settle(done.map(&:native)))
        failed.each { |event| fail_one(engine, event, error || event.failure, left) }
      end

      def fail_one(engine, event, error, left)
        native = event.native
        decision = @settlement.judge(error, native, event)
        decision.done? ? left.settle([native]) : left.fail(native)
        @settlement.carry_out(engine, native, event, decision)
      end

      # The events of a batch that are not settled.
      class Left
        # @param ordered [Boolean] whether later events of a key wait for one that failed
        def initialize(engine, natives, ordered:)
          @engine = engine
          @natives = natives
          @failed = ({} if ordered)
        end

        # These are settled.
        # @param natives [Array<Native::StreamEvent>] some of those that are left
        # @return [Array<Native::StreamEvent>] the same
        def settle(natives)
          # Mostly all of a batch are settled together.
          if natives.size == @natives.size
            @natives = {}
          else
            @natives = by_identity(@natives) if @natives.is_a?(Array)
            natives.each { |native| @natives.delete(native) }
          end
          natives
        end

        def fail(native)
          settle([native])
          @failed[native.key_hash] = true if @failed
        end

        # Gives back those that wait for one that failed.
        # @param events [Array<ChangeEvent>]
        # @return [Array<ChangeEvent>] the others
        def ready(events)
          return events if @failed.nil? || @failed.empty?

          waiting, ready = events.partition { |event| @failed.key?(event.native.key_hash) }
          waiting = settle(waiting.map(&:native))
          @engine.give_back(waiting) unless waiting.empty?
          ready
        end

        def each(&block)
          (@natives.is_a?(Array) ? @natives : @natives.keys).each(&block)
        end

        private

        def by_identity(natives)
          natives.each_with_object({}.compare_by_identity) { |native, all| all[native] = true }
        end
      end
      private_constant :Left
    end
    private_constant :BatchDelivery
  end
end

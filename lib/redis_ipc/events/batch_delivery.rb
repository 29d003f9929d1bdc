# frozen_string_literal: true

module RedisIPC
  module Events
    # Handles events in batches: runs the handler, and settles each event by the result. If a batch raises, it is split
    # in two until the failing events are found.
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
        left&.each { |native| @settlement.stopped(engine, [native], ChangeEvent.new(native, @setup.format), ended_by) }
      end

      # Runs the handler, for {HandlerPipeline}.
      # @param events [Array<ChangeEvent>]
      # @param known [Array<Native::StreamEvent>] receives the events that were done before
      def run_handler(events, known)
        exactly_once = @setup.exactly_once
        return @setup.invoker.batch(events) unless exactly_once

        exactly_once.batch(events, known) { |rest| @setup.invoker.batch(rest) }
      end

      # Decides by the result of the handler, for {HandlerPipeline}.
      # @return [RetryPolicy::Decision]
      def judge(error, _events, _known, _outcome)
        error ? RetryPolicy::Decision.new(:fail, error) : RetryPolicy::DONE
      end

      private

      # @return [Array<ChangeEvent>]
      def events_of(natives)
        natives.map { |native| ChangeEvent.new(native, @setup.format) }
      end

      # Fails the events that cannot be read. If the handler got them, it could not say which event failed.
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

      # Handles a part of a batch again. It must not keep the marks that the handler gave to the whole.
      def handle_again(engine, events, left)
        handle(engine, events_of(events.map(&:native)), left)
      end

      # @return [Array(Exception, Array<ChangeEvent>)] the exception, if there was one, and the events that had not been
      #   done before
      def outcome_of(engine, events, left)
        known = []
        error = @pipeline.run(events, known).error
        return [error, events] if known.empty?

        left.settle(known)
        @settlement.skip(engine, known)
        [error, events.reject { |event| known.include?(event.native) }]
      end

      # Handles a batch that the database refused because another process now owns the lane of some events. Gives those
      # back, and handles the others again.
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
        decision = @settlement.judge(error, event)
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

        # Removes events that are now settled.
        # @param natives [Array<Native::StreamEvent>] some of those that are left
        # @return [Array<Native::StreamEvent>] the same
        def settle(natives)
          # Usually all events of a batch are settled together.
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

        # Gives back the events that must wait for a failed one.
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

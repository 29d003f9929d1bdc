# frozen_string_literal: true

module RedisIPC
  module Events
    # Carries out the decisions about events, and reports those that are not done.
    # @api private
    class Settlement
      # The pause, in seconds, before an event that the database refused is given back. If Redis does not yet know that
      # another process owns its lane, the event is delivered here again.
      PAUSE = 0.1
      private_constant :PAUSE

      # @param runner [Runner]
      # @param setup [Setup] decides what happens to an event that failed
      def initialize(runner, setup)
        @runner = runner
        @setup = setup
      end

      # @param error [Exception] what the handler raised
      # @param subject [ChangeEvent, CommittedTransaction]
      # @return [RetryPolicy::Decision]
      def decide(error, subject)
        @setup.decide(error, subject)
      end

      # Decides. If the subject is discarded, lets the database record that.
      # @param error [Exception]
      # @param subject [ChangeEvent, CommittedTransaction]
      # @return [RetryPolicy::Decision]
      def judge(error, subject)
        return RetryPolicy::Decision.new(:refuse, error) if error.is_a?(StaleOwnerError)

        decision = decide(error, subject)
        @setup.exactly_once&.conclude(events_of(subject)) if decision.action == :discard
        decision
      rescue StandardError => e
        e.is_a?(StaleOwnerError) ? RetryPolicy::Decision.new(:refuse, e) : decide(e, subject)
      end

      # @param engine [Native::EventConsumer]
      # @param native [Native::StreamEvent]
      # @param event [ChangeEvent]
      # @param decision [RetryPolicy::Decision]
      # @return [void]
      def carry_out(engine, native, event, decision)
        # Nearly all events are done, so those avoid the cost of a block.
        return carry_out_all(engine, [native], event, decision) unless decision.equal?(RetryPolicy::DONE)

        engine.done_one(native)
      rescue NotConnectedError
        # See {#guarded}.
      rescue Error => e
        @runner.report(e)
      end

      # Does the same with one decision about all events of a subject.
      # @param engine [Native::EventConsumer]
      # @param natives [Array<Native::StreamEvent>]
      # @param subject [ChangeEvent, CommittedTransaction]
      # @param decision [RetryPolicy::Decision]
      # @return [void]
      def carry_out_all(engine, natives, subject, decision)
        guarded do
          case decision.action
          when :done then engine.done(natives)
          when :skip then engine.skip(natives)
          when :refuse then refuse(engine, natives, decision.error)
          when :discard then discard(engine, natives, subject, decision.error)
          when :retry then put_off(engine, natives, subject, decision)
          else bury(engine, natives, subject, decision.error)
          end
        end
      end

      # @param engine [Native::EventConsumer]
      # @param natives [Array<Native::StreamEvent>]
      # @return [void]
      def done(engine, natives)
        guarded { engine.done(natives) } unless natives.empty?
      end

      # @param engine [Native::EventConsumer]
      # @param natives [Array<Native::StreamEvent>] events that were done before
      # @return [void]
      def skip(engine, natives)
        guarded { engine.skip(natives) } unless natives.empty?
      end

      # Has changes written into a stream. It waits for Redis.
      # @param engine [Native::EventConsumer]
      # @param natives [Array<Native::StreamEvent>]
      # @param keys [Array<String>, nil] nil: the core finds them
      # @param types [Array<String>, nil]
      # @return [void]
      def forward(engine, natives, keys, types)
        guarded { FiberWaker.outside { engine.forward(natives, keys, types) } }
      end

      # Gives back events whose lane another process owns.
      # @param engine [Native::EventConsumer]
      # @param natives [Array<Native::StreamEvent>]
      # @param error [StaleOwnerError]
      # @return [void]
      def refuse(engine, natives, error)
        sleep(PAUSE)
        guarded { FiberWaker.outside { engine.refuse(natives) } }
        @runner.note("#{natives.map(&:id).first(3).join(", ")}#{" ..." if natives.size > 3} given back: " \
                     "#{LogText.error(error)}")
      end

      # Settles the events of a subject whose handler ended without a result.
      # @param ended_by [Exception, nil] the exception that ends its thread; nil if the thread was killed
      def stopped(engine, natives, subject, ended_by)
        error = EventFailedError.new("the handler was stopped before it finished: #{why(ended_by)}", **where(subject))
        carry_out_all(engine, natives, subject, @setup.decide(error, subject))
      end

      # Runs the block, which tells the engine what becomes of events, and ignores an engine that cannot be told any
      # more.
      def guarded
        yield
      rescue NotConnectedError
        # The handler forked, and this is the child; or the engine is closed, and the group has the event again.
      rescue Error => e
        @runner.report(e)
      end

      private

      def discard(engine, natives, subject, error)
        engine.done(natives)
        @runner.note("#{about(subject)} is discarded: #{LogText.error(error)}")
      end

      def put_off(engine, natives, subject, decision)
        natives.each { |native| engine.retry(native, decision.wait) }
        @runner.note("#{about(subject)} is tried again in #{decision.wait.round(1)} s: " \
                     "#{LogText.error(decision.error)}")
      end

      def bury(engine, natives, subject, error)
        reason = LogText.error(error)
        # These calls wait for Redis.
        FiberWaker.outside { natives.each { |native| engine.bury(native, reason) } }
        after = @setup.live? ? "given up on" : "a dead letter now"
        @runner.report(error, about: "#{about(subject)}, #{after}", event: events_of(subject).first)
      end

      # @return [Array<ChangeEvent>]
      def events_of(subject)
        subject.is_a?(CommittedTransaction) ? subject.events : [subject]
      end

      def about(subject)
        what = subject.is_a?(CommittedTransaction) ? of_transaction(subject) : of_event(subject)
        "#{what}, attempt #{subject.attempt}"
      end

      def of_transaction(transaction)
        "transaction #{transaction.position} (#{transaction.size} changes)"
      end

      def of_event(event)
        type = event.type&.then { |text| " (#{LogText.of(text)})" }
        "event #{event.position || "of #{LogText.of(event.source)}"}#{type}"
      end

      def why(ended_by)
        case ended_by
        when nil then "its thread was killed (Thread#kill)"
        when SystemExit then "it called exit, which ends the process"
        else LogText.error(ended_by)
        end
      end

      def where(subject)
        { stream: subject.source, entry_id: subject.position }
      end
    end
    private_constant :Settlement
  end
end

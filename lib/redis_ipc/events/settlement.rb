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

      # @param error [Exception] what the handler raised for the event
      # @param event [ChangeEvent]
      # @return [RetryPolicy::Decision]
      def decide(error, event)
        @setup.decide(error, event)
      end

      # Decides. If the event is discarded, lets the database record that.
      # @param error [Exception]
      # @param native [Native::StreamEvent]
      # @param event [ChangeEvent]
      # @return [RetryPolicy::Decision]
      def judge(error, native, event)
        return RetryPolicy::Decision.new(:refuse, error) if error.is_a?(StaleOwnerError)

        decision = decide(error, event)
        @setup.exactly_once&.conclude(native, event) if decision.action == :discard
        decision
      rescue StandardError => e
        e.is_a?(StaleOwnerError) ? RetryPolicy::Decision.new(:refuse, e) : decide(e, event)
      end

      # @param engine [Native::EventConsumer]
      # @param native [Native::StreamEvent]
      # @param event [ChangeEvent]
      # @param decision [RetryPolicy::Decision]
      # @return [void]
      def carry_out(engine, native, event, decision)
        # Nearly all events are done, so those avoid the cost of a block.
        return carry_out_other(engine, native, event, decision) unless decision.equal?(RetryPolicy::DONE)

        engine.done_one(native)
      rescue NotConnectedError
        # See {#guarded}.
      rescue Error => e
        @runner.report(e)
      end

      # Does for all changes of a transaction what {#carry_out} does for an event.
      # @param engine [Native::EventConsumer]
      # @param natives [Array<Native::StreamEvent>]
      # @param transaction [CommittedTransaction]
      # @param decision [RetryPolicy::Decision]
      # @return [void]
      def carry_out_all(engine, natives, transaction, decision)
        guarded do
          case decision.action
          when :done then engine.done(natives)
          when :discard then discard_all(engine, natives, transaction, decision)
          when :retry then put_off_all(engine, natives, transaction, decision)
          else bury_all(engine, natives, transaction, decision)
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

      # Settles an event whose handler ended without a result.
      # @param ended_by [Exception, nil] the exception that ends its thread; nil if the thread was killed
      def stopped(engine, native, event, ended_by)
        error = EventFailedError.new("the handler was stopped before it finished: #{why(ended_by)}", **where(event))
        carry_out(engine, native, event, @setup.decide(error, event))
      end

      # The same of a transaction.
      def stopped_all(engine, natives, transaction, ended_by)
        error = EventFailedError.new("the handler was stopped before it finished: #{why(ended_by)}",
                                     **where(transaction))
        carry_out_all(engine, natives, transaction, @setup.decide(error, transaction))
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

      def carry_out_other(engine, native, event, decision)
        case decision.action
        when :skip then engine.skip([native])
        when :refuse then refuse(engine, [native], decision.error)
        when :discard then discard(engine, native, event, decision.error)
        when :retry then put_off(engine, native, event, decision)
        else bury(engine, native, event, decision.error)
        end
      end

      def discard(engine, native, event, error)
        engine.done([native])
        @runner.note("#{about(event)} is discarded: #{LogText.error(error)}")
      end

      def put_off(engine, native, event, decision)
        engine.retry(native, decision.wait)
        @runner.note("#{about(event)} is tried again in #{decision.wait.round(1)} s: #{LogText.error(decision.error)}")
      end

      def bury(engine, native, event, error)
        # This call waits for Redis.
        FiberWaker.outside { engine.bury(native, LogText.error(error)) }
        after = @setup.live? ? "given up on" : "a dead letter now"
        @runner.report(error, about: "#{about(event)}, #{after}", event: event)
      end

      def discard_all(engine, natives, transaction, decision)
        engine.done(natives)
        @runner.note("#{about_all(transaction)} is discarded: #{LogText.error(decision.error)}")
      end

      def put_off_all(engine, natives, transaction, decision)
        natives.each { |native| engine.retry(native, decision.wait) }
        @runner.note("#{about_all(transaction)} is tried again in #{decision.wait.round(1)} s: " \
                     "#{LogText.error(decision.error)}")
      end

      def bury_all(engine, natives, transaction, decision)
        reason = LogText.error(decision.error)
        FiberWaker.outside { natives.each { |native| engine.bury(native, reason) } }
        @runner.report(decision.error, about: "#{about_all(transaction)}, given up on", event: transaction.first)
      end

      def about_all(transaction)
        "transaction #{transaction.position} (#{transaction.size} changes), attempt #{transaction.attempt}"
      end

      def about(event)
        type = event.type&.then { |text| " (#{LogText.of(text)})" }
        "event #{event.position || "of #{LogText.of(event.source)}"}#{type}, attempt #{event.attempt}"
      end

      def why(ended_by)
        case ended_by
        when nil then "its thread was killed (Thread#kill)"
        when SystemExit then "it called exit, which ends the process"
        else LogText.error(ended_by)
        end
      end

      def where(event)
        { stream: event.source, entry_id: event.position }
      end
    end
    private_constant :Settlement
  end
end

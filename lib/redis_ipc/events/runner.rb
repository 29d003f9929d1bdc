# frozen_string_literal: true

module RedisIPC
  module Events
    # A consumer that is started in this process. It survives forks.
    # @api private
    class Runner
      include Lifecycle

      # @return [Setup]
      attr_reader :setup

      # @param setup [Setup]
      def initialize(setup)
        @setup = setup
        @lifecycle = Mutex.new
        settlement = Settlement.new(self, setup)
        @delivery = setup.delivery.new(setup, settlement)
      end

      # @param paused [Boolean] whether it begins paused
      # @return [self]
      def start(paused: false)
        @setup.exactly_once&.check
        @paused = paused
        connect_with(@setup)
      end

      def pause
        engine = session.engine
        @paused = true
        engine.pause
      end

      def resume
        engine = session.engine
        @paused = false
        engine.resume
      end

      # @param key [String]
      # @param paused [Boolean]
      # @raise [ConfigurationError] without an order by key
      def pause_key(key, paused)
        return if session.engine.pause_key(Names.check("the key", key.to_s), paused)

        raise ConfigurationError, "#{@setup.name} has no order by key, so no key can be paused alone: say order :key"
      end

      # @return [Boolean] whether the application pauses it, or the control key of its group does
      def paused?
        @paused || (open? && session.engine.stats[:paused] == 1) ? true : false
      end

      # @return [Integer, nil]
      def lag
        engine = @setup.source.lag? ? session.engine : of_stream("lag")
        FiberWaker.outside { engine.lag }
      end

      # @return [Checkpoint]
      def checkpoint
        Checkpoint.new(of_stream("checkpoint"), title)
      end

      # @return [Array(String, String, Integer, String)] the last id of the stream, the last id that was delivered to
      #   the group, how many entries are pending, and the lowest id that may still be delivered
      def progress
        FiberWaker.outside { session.engine.progress }
      end

      # @return [Boolean] whether this consumer has created the group
      def made_group?
        session.engine.made_group?
      end

      # @return [DeadLetters]
      def dead_letters
        DeadLetters.new(of_stream("dead_letters"), @setup.group, @setup.format)
      end

      # Reports an error to the user.
      # @param exception [Exception]
      # @param about [String, nil] what was being handled
      # @param event [ChangeEvent, nil] the event that was given up on
      # @return [void]
      def report(exception, about: nil, event: nil)
        ErrorReport.tell(title, exception, about: about, logger: @setup.logger, on_error: @setup.on_error) do
          publish(exception, event)
        end
      end

      # Logs a text that is no error.
      # @param text [String]
      # @return [void]
      def note(text)
        ErrorReport.note("redis_ipc #{title}: #{text}", logger: @setup.logger)
      end

      # Reports a loss to the user: to `on_loss`, or else to the log.
      # @param loss [Loss]
      # @return [void]
      def lost(loss)
        told = @setup.on_loss
        told ? RedisIPC.framework.around_callback { told.call(loss) } : note(loss)
      rescue StandardError => e
        report(e, about: "on_loss")
      ensure
        Instrumentation.publish(:loss, { **told_place, loss: loss })
      end

      # Called in a worker process, which takes no events itself.
      def leave_to_parent
        super
        @session&.renounce
      end

      # @return [String]
      def inspect
        "#<#{self.class} of #{title}>"
      end

      private

      # @return [Native::EventConsumer]
      # @raise [ConfigurationError] if the source is no stream
      def of_stream(what)
        engine = session.engine
        return engine unless @setup.live?

        raise ConfigurationError, "#{@setup.name} has no #{what}: that needs a stream, and of #{@setup.title} Redis " \
                                  "keeps no events"
      end

      def open_session(setup)
        session = Session.new(setup, report: method(:report), reconnected: method(:reconnected), lost: method(:lost))
        begin_session(session) do
          session.engine.pause if @paused
          session.run(@delivery)
        end
      end

      def publish(exception, event)
        id = event ? event.position : (exception.entry_id if exception.is_a?(Error))
        payload = { **told_place, id: id, error: exception, **(event ? { event: event } : {}) }
        is_kept = exception.is_a?(DeadLetteredError) || (event && !@setup.live?)
        Instrumentation.publish(:dead_letter, payload) if is_kept
        Instrumentation.publish(:error, payload)
      end

      def reconnected(outage)
        Instrumentation.publish(:reconnect, { **told_place, duration: outage })
      end

      def place
        { stream: @setup.stream, group: @setup.group }
      end

      # Returns the place for notifications. Subscribers distinguish consumers from streams by the name.
      def told_place
        { **place, consumer: @setup.name }
      end

      def subject
        @setup.name
      end

      def absence
        "is not started: call start"
      end

      def title(what = nil)
        [what, @setup.title].compact.join(" ")
      end
    end
    private_constant :Runner
  end
end

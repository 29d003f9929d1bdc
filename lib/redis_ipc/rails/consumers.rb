# frozen_string_literal: true

require_relative "placement"

module RedisIPC
  module OnRails
    # Starts the consumers of a Rails application: those in app/events, where they should run. When the classes are
    # reloaded, the new ones run.
    class Consumers < Placement
      # @api private
      def initialize(configuration, announcer)
        super(configuration, configuration.consumers, announcer)
        # Those that are paused until the code can be loaded.
        @held = []
      end

      # @return [Symbol, Boolean] which processes start them by themselves
      # @api private
      def way
        @configuration.consume
      end

      # Starts all consumers in app/events. Call it in workers that the gem does not know; it may be called again. While
      # Redis is away, a thread goes on trying. The log shows which consumers run, and that Redis is away.
      # @return [self]
      # @raise [ConfigurationError] if a consumer says something wrong, or an option is unknown or of the wrong type;
      #   then none is started
      def start
        run_here
        self
      end

      # Stops every consumer that was started here, and waits for running handlers.
      # @param timeout [Numeric] seconds
      # @return [self]
      def stop(timeout: RedisIPC.configuration.shutdown_timeout)
        stop_here(timeout: timeout)
        self
      end

      # @return [Boolean] whether there are consumers that run here, and none of them is missing
      def running?
        @serving && !@missing && @running.any? && @running.each_value.all?(&:running?)
      end

      # @return [Boolean] whether they run, and all of them are connected to Redis
      def connected?
        running? && @running.each_value.all? { |consumer| Events::Hosting.connected?(consumer) }
      end

      # Takes no more events until {resume}, also where a consumer is started meanwhile.
      # @return [self]
      def pause
        @paused = true
        @running.each_value { |consumer| paused(consumer) }
        self
      end

      # @return [self]
      def resume
        @paused = false
        @running.each_value { |consumer| resumed(consumer) } if @held.empty?
        self
      end

      # A child cannot tell the server that a consumer says something wrong, so that is checked before.
      # @api private
      def run_in_children
        checked
        super
      end

      # A consumer that has old code handles nothing until the new code can be loaded: each try would count.
      # @api private
      def reload
        super
        release
      rescue StandardError, ScriptError
        hold
        raise
      end

      private

      # None of them says something wrong.
      def checked
        super.tap { |all| Events::Hosting.check_all(all.values) { |one| @configuration.start_options(one) } }
      end

      def redis_of(consumer)
        @configuration.start_options(consumer).fetch(:redis_options) { Events::Hosting.redis_options(consumer) }
      end

      def start_one(consumer)
        started = Events::Hosting.start(consumer, @configuration.start_options(consumer), paused: @paused)
        note(consumer)
        # One that was started already, or one while whose start this was paused.
        paused(consumer) if @paused
        @announcer.info("redis_ipc consumes #{Events::Hosting.description(consumer)}") if started
      end

      def stop_one(consumer, timeout)
        consumer.stop(timeout: timeout)
      end

      def successor(name, present)
        present[name]
      end

      # The old one runs the new code from now on, for what it holds, until it is stopped.
      def replace(name, old, new)
        same = new && Events::Hosting.take_over(new, old, @configuration.start_options(new))
        forget(name)
        return note(new) if same

        stop_beside(old)
        place = Events::Hosting.place(old)
        @announcer.info("redis_ipc consumes #{place} no more") unless new && Events::Hosting.place(new) == place
      end

      # Leaves alone what somebody else has paused.
      def hold
        ours = @running.values.select { |consumer| @paused || !consumer.paused? }
        ours.each { |consumer| paused(consumer) }
        @held |= ours.map(&:name)
      end

      def release
        held = @held
        @held = []
        @running.values_at(*held).compact.each { |consumer| resumed(consumer) } unless @paused
      end

      def paused(consumer)
        consumer.pause
      rescue NotConnectedError
        # It was stopped meanwhile.
      end

      def resumed(consumer)
        consumer.resume
      rescue NotConnectedError
        # It was stopped meanwhile.
      end
    end
  end
end

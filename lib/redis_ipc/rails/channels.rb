# frozen_string_literal: true

require_relative "placement"
require_relative "operations"

module RedisIPC
  module OnRails
    # Connects the channels of a Rails application: those in app/ipc where they should answer, and any other when it
    # first asks. It keeps the connections when the classes are reloaded.
    class Channels < Placement
      # @api private
      def initialize(configuration, announcer)
        super(configuration, configuration.channels, announcer)
      end

      # @return [Symbol, Boolean] which processes connect by themselves
      # @api private
      def way
        @configuration.connect
      end

      # Connects all channels in app/ipc, so that this process answers. Call it in workers that the gem does not know;
      # it may be called again. While Redis is away, a thread goes on trying. The log shows which channels answer, and
      # that Redis is away.
      # @return [self]
      # @raise [ConfigurationError] if an option is unknown or of the wrong type
      def connect
        run_here
        self
      end

      # Disconnects every channel that was connected here or by itself, and waits for running handlers.
      # @param timeout [Numeric] seconds
      # @return [self]
      def disconnect(timeout: RedisIPC.configuration.shutdown_timeout)
        stop_here(timeout: timeout)
        self
      end

      # @return [Boolean] whether there are channels that answer here, and all of them are connected
      def connected?
        @serving && !@missing && @running.any? && @running.each_value.all?(&:connected?)
      end

      # Returns what the rake tasks run.
      # @api private
      def operations
        Operations.new(@configuration, @files)
      end

      # Connects a channel that is used before it is connected.
      # @api private
      def connect_to_ask(channel)
        @lock.synchronize { join(channel, serve: @serving && @files.include?(channel)) unless state_of(channel).open? }
      end

      private

      def start_one(channel)
        join(channel, serve: true)
      end

      def stop_one(channel, timeout)
        channel.disconnect(timeout: timeout)
      end

      def redis_of(channel)
        @configuration.connect_options(channel)[:redis_options]
      end

      # A channel that asked in the parent must not connect again by itself, because it is connected here to answer. A
      # thread that asks meanwhile waits for that.
      def forked
        @running.each_value { |channel| channel.disconnect(timeout: 0) }
      end

      # Connects one channel. A channel that connects by itself only asks, until it is connected here to answer.
      def join(channel, serve:)
        state = state_of(channel)
        return if state.open? && (state.serves? || !serve)

        channel.disconnect(timeout: 0) if state.open?
        channel.connect(serve: serve, **@configuration.connect_options(channel))
        note(channel) if channel.name
        @announcer.info("redis_ipc answers #{state.connection.description}") if serve
      end

      def state_of(channel)
        ChannelState.of(channel)
      end

      # One that only asks is not among those that are present.
      def successor(name, present)
        present[name] || name.safe_constantize
      end

      def replace(name, old, new)
        forget(name)
        return stop_beside(old) unless @kind.class?(new) && state_of(new).place == state_of(old).place

        state_of(new).take_over(state_of(old))
        note(new)
      end
    end
  end
end

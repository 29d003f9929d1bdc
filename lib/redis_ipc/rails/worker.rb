# frozen_string_literal: true

module RedisIPC
  module OnRails
    # The application in a process that does nothing but run its channels and consumers: `redis_ipc work`.
    # @api private
    class Worker
      # @return [Announcer] says what becomes of the channels and consumers
      attr_reader :announcer

      # @param channels [Channels]
      # @param consumers [Consumers]
      # @param announcer [Announcer]
      def initialize(channels, consumers, announcer)
        @channels = channels
        @consumers = consumers
        @announcer = announcer
      end

      # Loads the classes that run here.
      # @param only [Array<String>, nil] the names of those; nil means what the configuration says
      # @return [Array<Class>]
      # @raise [ConfigurationError] if there is no such class, or one says something wrong
      def choose(only)
        check(only) if only
        placements.each { |placement| placement.only(only) }
        placements.flat_map(&:present)
      end

      # Starts them, now or once Redis is there.
      # @return [void]
      # @raise [ConfigurationError]
      def start
        @channels.connect
        @consumers.start
      end

      # Pauses the consumers. Channels answer on.
      # @return [void]
      def pause
        @consumers.pause
      end

      # @return [void]
      def resume
        @consumers.resume
      end

      private

      def placements
        [@channels, @consumers]
      end

      def check(only)
        known = placements.flat_map(&:runnable_names)
        missing = only - known
        return if missing.empty?

        raise ConfigurationError, "--only names #{missing.join(", ")}, but there are: #{known.sort.join(", ")}"
      end
    end
  end
end

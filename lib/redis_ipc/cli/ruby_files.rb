# frozen_string_literal: true

module RedisIPC
  module CLI
    # Ruby files that define channels and consumers, without Rails.
    # @api private
    class RubyFiles
      # @param files [Array<String>]
      # @param announcer [Announcer]
      def initialize(files, announcer)
        @files = files
        @announcer = announcer
        @channels = @consumers = [].freeze
        @started = []
      end

      # @return [String] where it was looked for what runs
      def place
        @files.empty? ? "#{Dir.pwd}, which has no Rails application, and no FILES are named" : @files.join(", ")
      end

      # Loads the files.
      # @raise [ConfigurationError] if one is not there
      def boot
        require "redis_ipc"
        @files.each do |file|
          path = File.expand_path(file)
          raise ConfigurationError, "there is no file #{file}" unless File.file?(path)

          require path
        end
      end

      # @return [Announcer] says what becomes of the channels and consumers
      attr_reader :announcer

      # @param only [Array<String>, nil]
      # @return [Array<Class>] what runs
      # @raise [ConfigurationError]
      def choose(only)
        @channels = runnable_channels
        @consumers = Events::Hosting.runnable(below(Events::Consumer)).select { |one| one.name || one.running? }
        keep(only) if only
        Events::Hosting.check_all(@consumers.reject(&:running?)) { {} }
        @channels + @consumers
      end

      # Starts them, now or once Redis is there.
      # @raise [ConfigurationError]
      def start
        @starting = PatientStart.new("channels and consumers", @announcer) { start_each }
        @starting.now
      end

      # Pauses the consumers. Channels answer on.
      def pause
        @paused = true
        change(&:pause)
      end

      def resume
        @paused = false
        change(&:resume)
      end

      # Stops what goes on trying to start.
      def quiet
        @starting&.stop
      end

      private

      def below(above)
        above.subclasses.flat_map { |one| [one, *below(one)] }
      end

      # A class whose subclass has the same place is only there for others to inherit from.
      def runnable_channels
        found = below(Channel).select { |one| one.name && one.stream_name && one.group_name }
        found.reject { |one| found.any? { |other| other < one && place_of(other) == place_of(one) } }
      end

      def place_of(channel)
        [channel.stream_name, channel.group_name]
      end

      def keep(only)
        known = (@channels + @consumers).map(&:name)
        missing = only - known
        known = known.compact.sort.join(", ")
        raise ConfigurationError, "--only names #{missing.join(", ")}, but there are: #{known}" unless missing.empty?

        @channels = @channels.select { |one| only.include?(one.name) }
        @consumers = @consumers.select { |one| only.include?(one.name) }
      end

      # @return [Array<CallError>] the failures, because Redis is away or refuses
      def start_each
        missing = (@channels + @consumers) - @started
        PatientStart.each(missing, method(:redis_of)) { |one| one < Channel ? connect_one(one) : start_one(one) }
      end

      def redis_of(one)
        one < Channel ? RedisIPC.configuration.complete({})[:redis_options] : Events::Hosting.redis_options(one)
      end

      def connect_one(channel)
        state = ChannelState.of(channel)
        channel.connect unless state.open? && state.serves?
        tell(channel, "answers #{state.connection.description}")
      end

      def start_one(consumer)
        Events::Hosting.start(consumer, paused: @paused)
        # One that was started already, or one while whose start this was paused.
        consumer.pause if @paused
        tell(consumer, "consumes #{Events::Hosting.description(consumer)}")
      end

      def tell(one, text)
        @started << one
        @announcer.info("redis_ipc #{text}")
      end

      def change
        @consumers.each do |consumer|
          yield consumer if consumer.running?
        rescue NotConnectedError
          # It was stopped meanwhile.
        end
      end
    end
  end
end

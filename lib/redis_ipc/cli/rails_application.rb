# frozen_string_literal: true

module RedisIPC
  module CLI
    # The Rails application in the current folder.
    # @api private
    class RailsApplication
      ENVIRONMENT = "config/environment.rb"
      APPLICATION = "config/application.rb"
      private_constant :ENVIRONMENT, :APPLICATION

      # @return [Boolean] whether there is one
      def self.here?
        File.exist?(ENVIRONMENT)
      end

      # @return [String] where it was looked for what runs
      def place
        "app/ipc and app/events of the Rails application in #{Dir.pwd}"
      end

      # Boots it. The railtie starts nothing by itself in this process.
      # @raise [ConfigurationError] if the application does not load the gem
      def boot
        # This loads the railtie, and does not initialize the application yet.
        require File.expand_path(APPLICATION) if File.exist?(APPLICATION)
        OnRails::Processes.leave if defined?(OnRails::Processes)
        require File.expand_path(ENVIRONMENT)
        return if defined?(OnRails::Railtie) && RedisIPC.channels

        require "redis_ipc"
        raise ConfigurationError, "the Rails application in #{Dir.pwd} does not load redis_ipc: " \
                                  "add gem \"redis_ipc\" to its Gemfile"
      end

      # @param only [Array<String>, nil]
      # @return [Array<Class>] what runs
      # @raise [ConfigurationError]
      def choose(only)
        @worker = OnRails::Railtie.worker
        @worker.choose(only)
      end

      # @return [OnRails::Announcer] says what becomes of the channels and consumers
      def announcer
        @worker.announcer
      end

      # Starts them, now or once Redis is there.
      def start
        @worker.start
      end

      def pause
        @worker.pause
      end

      def resume
        @worker.resume
      end

      # Stops what goes on trying to start.
      def quiet
        RedisIPC.channels.quiet
        RedisIPC.consumers.quiet
      end
    end
  end
end

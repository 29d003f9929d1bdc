# frozen_string_literal: true

require_relative "application"

module RedisIPC
  module CLI
    # A verb that is about an application: a Rails application, or Ruby files.
    # @api private
    class ApplicationVerb < Verb
      # The application loads the gem.
      # @return [void]
      def prepare
        @announcer = Announcer.new
      end

      private

      # @return [Array<Class>] the channels and consumers that the options name
      def load_application
        @application = Application.of(given, @announcer)
        @application.boot
        @application.choose(given[:only])
      end

      # @param text [String]
      # @return [Integer] the exit status
      def fail_with(text)
        @announcer.error("redis_ipc: #{text}")
        ExitStatus::FINDING
      end
    end
  end
end

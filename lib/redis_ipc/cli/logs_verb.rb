# frozen_string_literal: true

require_relative "application_verb"

module RedisIPC
  module CLI
    # A verb that looks at the databases of PostgreSQL whose logs the consumers of an application read.
    # @api private
    class LogsVerb < ApplicationVerb
      private

      # @yieldparam setups [Array<Events::Setup>] of the consumers of logs
      # @yieldreturn [Integer]
      # @return [Integer] the exit status
      def looking
        # The application loads the gem, so this comes before its constants.
        classes = load_application
        setups = Events::Hosting.of_logs(classes)
        return yield(setups) if setups.any?

        fail_with("there is no consumer of PostgreSQL's log in #{@application.place}; without the application: " \
                  "redis_ipc doctor --postgres URL")
      end
    end
  end
end

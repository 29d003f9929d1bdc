# frozen_string_literal: true

require_relative "admin_verb"

module RedisIPC
  module CLI
    # A verb about the consumers of events.
    # @api private
    class EventVerb < AdminVerb
      class << self
        private

        # Declares what these verbs have in common.
        def shares_all
          argument :streams, "the streams whose events are handled (REDIS_IPC_EVENTS); what consumes channels, keys " \
                             "or PostgreSQL's log is found by itself", many: true, title: "STREAM"
          option :group, "-g", "--group NAME", "this group only"
          shares :redis, :watch, :json
        end
      end

      private

      def names
        streams = given[:streams] || []
        { consumers: streams.any? ? streams : ENV.fetch("REDIS_IPC_EVENTS", "").split(",") }
      end

      # @return [Array<Admin::EventGroup>]
      def event_groups
        groups = admin.event_groups
        given[:group] ? groups.select { |group| group.name == given[:group] } : groups
      end

      # @return [String]
      def none
        of = admin.consumers.empty? ? "" : " of #{LogText.line(admin.consumers.join(", "))}"
        "there is no#{" such" if given[:group]} consumer of events#{of}"
      end
    end
  end
end

# frozen_string_literal: true

module RedisIPC
  class Web
    # The consumers of events of all sources.
    # @api private
    class EventsPage < Page
      TEMPLATE = :events
      SECTION = :events

      # @return [Array<Admin::EventGroup>]
      attr_reader :groups

      # @return [Hash]
      def to_h
        { event_groups: hashes(groups) }
      end

      private

      def read
        @groups = admin.event_groups
      end
    end
  end
end

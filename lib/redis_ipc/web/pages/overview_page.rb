# frozen_string_literal: true

module RedisIPC
  class Web
    # The findings, and what the streams, queues and consumers do.
    # @api private
    class OverviewPage < Page
      TEMPLATE = :overview
      SECTION = :overview

      # @return [Admin::Overview]
      attr_reader :overview

      # @return [Hash{String => Array<Admin::Group>}] the groups of each stream
      def streams
        groups = overview.groups.group_by(&:stream)
        admin.streams.to_h { |stream| [stream, groups.fetch(stream, [])] }
      end

      # @return [Hash{String => Array(String, Hash)}] the pages of what findings are about
      def subjects
        @subjects ||= links("/event_group", overview.event_groups).merge(links("/group", overview.groups))
      end

      # @return [Hash]
      def to_h
        overview.to_h
      end

      private

      def links(path, groups)
        groups.to_h { |group| [group.path, [path, { stream: group.stream, group: group.name }]] }
      end

      def read
        @overview = admin.overview
      end
    end
  end
end

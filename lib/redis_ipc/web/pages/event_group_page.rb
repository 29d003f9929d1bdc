# frozen_string_literal: true

module RedisIPC
  class Web
    # One consumer of events: how far it is, what it lost, and its instances.
    # @api private
    class EventGroupPage < Page
      include Members

      TEMPLATE = :event_group
      SECTION = :events
      # The least that the time line of losses shows.
      HOUR = 3600
      MINUTE = 60
      private_constant :HOUR, :MINUTE

      # @return [Admin::EventGroup]
      attr_reader :group

      alias subject group

      # @return [String]
      def title
        group.path
      end

      # @return [Array<Admin::Instance>]
      def instances
        group.instances
      end

      # @return [Array<Admin::Loss>]
      def losses
        group.losses.to_a
      end

      # @return [Array<Array(Time, Time, String)>] each loss as a span of time
      def loss_spans
        losses.filter_map do |loss|
          start = loss.since || loss.at
          finish = loss.until || loss.at
          [start, finish, loss.cause.to_s.tr("_", " ")] if start && finish
        end
      end

      # @return [Range] the time that the time line shows. It ends with this minute, so that the page stays the same
      #   until then
      def range
        finish = Time.at((Time.now.to_i / MINUTE * MINUTE) + MINUTE)
        [finish - HOUR, *loss_spans.map(&:first)].min..finish
      end

      # @return [Hash{String => Integer}] how many lanes each instance owns
      def owners
        group.owners.to_h.values.tally
      end

      # @return [Hash]
      def to_h
        { event_group: group.to_h }
      end

      private

      def read
        stream = request.fetch(:stream)
        name = request.fetch(:group)
        @group = found(admin.event_groups(stream).find { |one| one.name == name }, "#{stream}/#{name}")
      end
    end
  end
end

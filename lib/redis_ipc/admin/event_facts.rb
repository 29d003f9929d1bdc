# frozen_string_literal: true

module RedisIPC
  class Admin
    # What Redis says about one group of a stream of events, and what its processes say of themselves.
    # @api private
    class EventFacts
      # The consumer group of Redis that shows how far an ordered consumer is (docs/events_protocol.md, "The marker").
      MARKER = ":lanes"
      # A living consumer reads every ten seconds.
      DEAD_AFTER = 60
      # One without a consumer group writes its record every ten seconds.
      UNWRITTEN = 30
      MOST_PARTITIONS = 256
      FIELDS = %i[handlers busy series wait run answered failed].freeze
      private_constant :DEAD_AFTER, :UNWRITTEN, :MOST_PARTITIONS, :FIELDS

      # @return [String]
      attr_reader :name
      # @return [Integer, nil]
      attr_accessor :lag

      # @param stream [String]
      # @param name [String] the group's
      # @param now [Float] Redis's time
      # @param groups [Hash{String => Hash}] what XINFO GROUPS says, by the name
      def initialize(stream, name, now, groups)
        @stream = stream
        @name = name
        @now = now
        @reads_as = groups.key?("#{name}#{MARKER}") ? "#{name}#{MARKER}" : name
        @group = groups[@reads_as]
      end

      # @param source [String, nil] the stream itself, or its first partition
      # @return [Array<Array>] the queries whose answers {learn} gets
      def queries(source)
        return [[:control, @stream, name]] unless source

        after = @group&.fetch("last-delivered-id", nil) || "0-0"
        [[:control, @stream, name], [:dead, @stream, name], [:event_lanes, @stream, name],
         [:event_consumers, source, name], [:event_lag, source, @reads_as], [:event_after, source, after]]
      end

      def learn((control, dead, lanes, consumers, lag, nearest))
        @control = control
        @dead = dead
        @lanes = (lanes || []).map(&:scrub).each_slice(2).to_h
        @consumers = (consumers || []).map { |row| row.each_slice(2).to_h }
        @lag = lag
        @nearest = nearest
      end

      # @param records [Hash{String => Record}] by the id of the instance
      def records=(records)
        @records = records.select { |_, record| record.kind == :events }
      end

      # @return [Integer, nil] how many partitions the stream has
      def partitions
        @lanes["lanes"].to_i.clamp(0, MOST_PARTITIONS) if @lanes["lanes"]&.end_with?(" partitions")
      end

      # @return [EventGroup, nil] nil if there is none
      def event_group
        instances = instances()
        return if @group.nil? && @lanes.empty? && instances.empty?

        alive = instances.select(&:alive?)
        said = alive.filter_map(&:events)
        EventGroup.new(stream: @stream, name: name, instances: instances, dead: @dead, losses: losses,
                       source: source, **progress(said), **lanes, **Members.new(alive).fields(*FIELDS),
                       **Control.read(@control).fields)
      end

      private

      def losses
        @records.each_value.flat_map(&:losses).sort_by { |loss| loss.at.to_f }.freeze
      end

      def source
        @records.each_value.filter_map { |record| record.values.dig("events", "source") }.grep(String).first ||
          ("stream" if @group)
      end

      def progress(said)
        { lag: lag || numbers(said, "lag").max, oldest: oldest(said), checkpoint: checkpoint(said),
          pending: ordered? ? nil : @group&.fetch("pending", nil),
          handled: sum(said, "handled"), failures: sum(said, "failed") }
      end

      def checkpoint(said)
        @group&.fetch("last-delivered-id", nil) || said.filter_map { |events| events["checkpoint"] }.grep(String).min
      end

      def oldest(said)
        nearest = @nearest.to_i if @nearest && partitions.nil?
        [nearest, *numbers(said, "oldest")].compact.map { |sent| age(sent) }.max
      end

      def age(sent)
        (@now - (sent / 1_000.0)).clamp(0.0, nil)
      end

      def numbers(said, name)
        said.filter_map { |events| Numbers.whole(events[name]) }
      end

      def sum(said, name)
        counts = numbers(said, name)
        counts.sum unless counts.empty?
      end

      def ordered?
        @lanes.key?("lanes")
      end

      def lanes
        return {} unless ordered?

        owners = @lanes.filter_map do |field, value|
          owner, _, expires = value.split
          [field.delete_prefix("o:").to_i, owner] if field.start_with?("o:") && owner != "-" && living?(expires)
        end
        { lanes: @lanes["lanes"].to_i, lanes_owned: owners.size, owners: owners.to_h.freeze, partitions: partitions }
      end

      def living?(expires)
        expires.to_i > @now * 1_000
      end

      # A process shows that it is alive by its consumer, in the hash of the lanes, or by its record.
      def instances
        seen = seen_as_consumers.merge(seen_in_lanes)
        (seen.keys | @records.keys).filter_map { |id| instance(id, *seen[id]) }.freeze
      end

      def instance(id, at = nil, is_alive = false) # rubocop:disable Style/OptionalBooleanParameter -- of a row
        fields = @records[id]&.fields || {}
        return if fields.empty? && !is_alive

        written = fields[:written].to_f
        is_alive = @now - written < UNWRITTEN if at.nil?
        seen = [at.to_f, written].max
        Instance.new(kind: :events, **fields, stream: @stream, group: name, id: id, alive: is_alive,
                     seen: Time.at(seen), silent: Silence.of(@now - seen, alive: is_alive))
      end

      def seen_as_consumers
        @consumers.to_h do |consumer|
          idle = consumer["idle"] / 1_000.0
          [consumer["name"], [@now - idle, idle < DEAD_AFTER]]
        end
      end

      def seen_in_lanes
        @lanes.filter_map do |field, value|
          next unless field.start_with?("i:")

          id = field.delete_prefix("i:")
          expires = value.split.first
          [id, [[@now, (expires.to_i - lease(id)) / 1_000.0].min, living?(expires)]]
        end.to_h
      end

      # With each sign of life it is written for another lease that the process is there.
      def lease(id)
        lease = @records[id]&.values&.dig("settings", "lease")
        lease.is_a?(Integer) ? lease : 0
      end
    end
    private_constant :EventFacts
  end
end

# frozen_string_literal: true

module RedisIPC
  class Admin
    # Reads the groups that handle the events of a stream, or of sources that are no stream.
    # @api private
    class EventReading
      # The stream of the records of consumers whose source is none.
      ELSEWHERE = "redis_ipc:events"
      # The consumer group of Redis that shows how far an ordered consumer is (docs/events_protocol.md, "The marker").
      MARKER = ":lanes"
      # A living consumer reads every ten seconds.
      DEAD_AFTER = 60
      # One without a consumer group writes its record every ten seconds.
      UNWRITTEN = 30
      FIELDS = %i[series wait run answered failed].freeze
      private_constant :MARKER, :DEAD_AFTER, :UNWRITTEN, :FIELDS

      # What Redis says about one group.
      Facts = Struct.new(:dead, :control, :lanes, :consumers, :lag, :nearest, :group, :partitions)
      private_constant :Facts

      # @param stream [String]
      def initialize(stream)
        @stream = stream
      end

      # @param questions [Rounds::Questions]
      # @return [Array<EventGroup>]
      def call(questions)
        @now = questions.now
        own, parts, known = questions.try([[:event_groups, @stream], [:event_groups, "#{@stream}:0"],
                                           [:known, @stream]])
        groups = (own || parts || []).to_h { |row| (facts = row.each_slice(2).to_h) && [facts["name"], facts] }
        @streams = own ? [@stream] : ["#{@stream}:0"]
        known = (known || []).reject { |group, _| group.empty? }
        names = (groups.keys.map { |name| name.delete_suffix(MARKER) } + known.map(&:first)).uniq.sort
        ids = known.select { |_, id, _| id }
        facts, records = ask_about(questions, names, groups, ids)
        look_into_partitions(questions, names, facts)
        names.filter_map { |name| group(name, facts.fetch(name), records_of(name, ids, records)) }
      end

      private

      def ask_about(questions, names, groups, ids)
        queries = names.flat_map { |name| queries_of(name, groups) }
        answers = questions.try(queries + ids.map { |group, id, _| [:record, @stream, group, id] })
        facts = names.to_h do |name|
          [name, Facts.new(*answers.shift(6), groups["#{name}#{MARKER}"] || groups[name])]
        end
        [facts, answers]
      end

      def queries_of(name, groups)
        reads_as = groups.key?("#{name}#{MARKER}") ? "#{name}#{MARKER}" : name
        stream = @streams.first
        after = groups.dig(reads_as, "last-delivered-id") || "0-0"
        [[:dead, @stream, name], [:control, @stream, name], [:event_lanes, @stream, name],
         [:event_consumers, stream, name], [:event_lag, stream, reads_as], [:event_after, stream, after]]
      end

      # Each partition has a marker of its own. How many there are is in the hash of the lanes.
      def look_into_partitions(questions, names, facts)
        divided = names.filter_map { |name| (count = partitions(facts[name])) && [name, count] }
        queries = divided.flat_map do |name, count|
          Array.new(count) { |index| [:event_lag, "#{@stream}:#{index}", "#{name}#{MARKER}"] }
        end
        lags = questions.try(queries)
        divided.each do |name, count|
          of_parts = lags.shift(count)
          facts[name].partitions = count
          facts[name].lag = of_parts.sum if of_parts.none?(&:nil?)
        end
      end

      def partitions(facts)
        lanes = hash(facts)["lanes"]
        lanes.to_i.clamp(0, 256) if lanes&.end_with?(" partitions")
      end

      def hash(facts)
        (facts.lanes || []).each_slice(2).to_h
      end

      def records_of(name, ids, records)
        ids.zip(records).filter_map do |(group, id, _), text|
          record = Record.read(text, @now) if group == name
          [id, record] if record && record.kind == :events
        end.to_h
      end

      def group(name, facts, records)
        hash = hash(facts)
        instances = instances(name, facts, hash, records)
        return if facts.group.nil? && hash.empty? && instances.empty?

        alive = instances.select(&:alive?)
        EventGroup.new(stream: @stream, name: name, instances: instances, dead: facts.dead,
                       losses: records.each_value.flat_map(&:losses).sort_by { |loss| loss.at.to_f },
                       source: records.each_value.filter_map { |record| record.values.dig("events", "source") }.first,
                       **progress(facts, hash, alive), **lanes(hash, facts), **Members.new(alive).fields(*FIELDS),
                       **Control.read(facts.control).fields)
      end

      def progress(facts, hash, alive)
        said = alive.filter_map(&:events)
        { lag: facts.lag || said.filter_map { |events| events["lag"] }.max, oldest: oldest(facts, said),
          pending: hash.empty? || !hash.key?("lanes") ? facts.group&.fetch("pending", nil) : nil,
          checkpoint: checkpoint(facts, said), handled: sum(said, "handled"), failures: sum(said, "failed") }
      end

      def checkpoint(facts, said)
        facts.group&.fetch("last-delivered-id", nil) || said.filter_map { |events| events["checkpoint"] }.min
      end

      def oldest(facts, said)
        return age(facts.nearest.to_i) if facts.nearest && facts.partitions.nil?

        ages = said.filter_map { |events| events["oldest"] }.grep(Integer).map { |sent| age(sent) }
        ages.max
      end

      def age(sent)
        (@now - (sent / 1_000.0)).clamp(0.0, nil)
      end

      def sum(said, name)
        counts = said.filter_map { |events| events[name] }.grep(Integer)
        counts.sum unless counts.empty?
      end

      def lanes(hash, facts)
        return {} unless hash.key?("lanes")

        owners = hash.filter_map do |field, value|
          owner, _, expires = value.split
          [field.delete_prefix("o:").to_i, owner] if field.start_with?("o:") && owner != "-" && living?(expires)
        end
        { lanes: hash["lanes"].to_i, lanes_owned: owners.size, owners: owners.to_h.freeze,
          partitions: facts.partitions }
      end

      def living?(expires)
        expires.to_i > @now * 1_000
      end

      # A process shows that it is alive by its consumer, in the hash of the lanes, or by its record.
      def instances(name, facts, hash, records)
        seen = seen(facts, hash)
        (seen.keys | records.keys).filter_map do |id|
          at, is_alive = seen[id]
          record = records[id]
          fields = record ? record.fields : {}
          next if record.nil? && !is_alive

          written = fields[:written].to_f
          is_alive = @now - written < UNWRITTEN if at.nil?
          Instance.new(kind: :events, **fields, stream: @stream, group: name, id: id, alive: is_alive,
                       seen: Time.at([at.to_f, written].max))
        end.freeze
      end

      def seen(facts, hash)
        consumers = (facts.consumers || []).to_h do |row|
          consumer = row.each_slice(2).to_h
          idle = consumer["idle"] / 1_000.0
          [consumer["name"], [@now - idle, idle < DEAD_AFTER]]
        end
        in_lanes = hash.filter_map do |field, value|
          expires = value.split.first
          [field.delete_prefix("i:"), [@now, living?(expires)]] if field.start_with?("i:")
        end
        consumers.merge(in_lanes.to_h)
      end
    end
    private_constant :EventReading
  end
end

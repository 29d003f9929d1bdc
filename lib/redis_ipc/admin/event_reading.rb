# frozen_string_literal: true

module RedisIPC
  class Admin
    # Reads the groups that handle the events of a stream, or of sources that are no stream.
    # @api private
    class EventReading
      # The stream of the records of consumers whose source is none.
      ELSEWHERE = "redis_ipc:events"

      # @param stream [String]
      def initialize(stream)
        @stream = stream
      end

      # @param questions [Rounds::Questions]
      # @return [Array<EventGroup>]
      def call(questions)
        known, *rows = questions.try([[:known, @stream], *groups])
        facts = facts(questions.now, rows, known ||= [])
        learn(questions, facts, known.select { |_, id, _| id })
        look_into_partitions(questions, facts.select(&:partitions))
        facts.filter_map(&:event_group)
      end

      private

      # Sources that are no stream have no groups in Redis.
      def groups
        @stream == ELSEWHERE ? [] : [[:event_groups, @stream], [:event_groups, "#{@stream}:0"]]
      end

      def facts(now, (own, parts), known)
        @source = own ? @stream : "#{@stream}:0" unless @stream == ELSEWHERE
        groups = by_name(own || parts || [])
        names = groups.keys.map { |name| name.delete_suffix(EventFacts::MARKER) } + known.map(&:first)
        (Keys.readable(names) - [""]).uniq.sort.map { |name| EventFacts.new(@stream, name, now, groups) }
      end

      def by_name(rows)
        groups = rows.map { |row| row.each_slice(2).to_h }
        groups.to_h { |group| [group["name"], group] }
      end

      def learn(questions, facts, ids)
        queries = facts.map { |one| one.queries(@source) }
        answers = questions.try(queries.flatten(1) + ids.map { |group, id, _| [:record, @stream, group, id] })
        facts.zip(queries) { |one, asked| one.learn(answers.shift(asked.size)) }
        records = ids.zip(answers).group_by { |(group, *), _| group }
        facts.each { |one| one.records = read(records.fetch(one.name, []), questions.now) }
      end

      def read(rows, now)
        rows.to_h { |(_, id, _), text| [id, Record.read(text, now)] }.compact
      end

      # Each partition has a marker of its own. How many there are is in the hash of the lanes.
      def look_into_partitions(questions, facts)
        queries = facts.map do |one|
          Array.new(one.partitions) { |index| [:event_lag, "#{@stream}:#{index}", "#{one.name}#{EventFacts::MARKER}"] }
        end
        lags = questions.try(queries.flatten(1))
        facts.zip(queries) do |one, asked|
          of_parts = lags.shift(asked.size)
          one.lag = of_parts.none?(&:nil?) ? of_parts.sum : nil
        end
      end
    end
    private_constant :EventReading
  end
end

# frozen_string_literal: true

module RedisIPC
  class Admin
    # Reads the groups and instances of a stream.
    # @api private
    class StreamReading
      FIELDS = %i[handlers busy series call wait run asked answered failed].freeze
      # A record is written every ten seconds.
      OUTDATED = 30.0
      private_constant :FIELDS, :OUTDATED

      # What was read.
      Found = Struct.new(:stream, :groups, :instances)

      # @param stream [String]
      # @param groups [Array<String>, nil] only these
      # @param counts [Boolean] whether the groups are wanted too, and not only the instances
      def initialize(stream, groups: nil, counts: true)
        @stream = stream
        @only = groups
        @counts = counts
      end

      # @param questions [Rounds::Questions]
      # @return [Found]
      def call(questions)
        @now = questions.now
        present, known = questions.hear([[:instances, @stream], [:known, @stream]])
        raise present if present.is_a?(Exception)

        # Without the right to see who has records, those who are alive are seen.
        known = [] if known.is_a?(Exception)
        @known = known.map(&:first)
        rows = rows_of(present, known)
        names = @counts ? names_of(rows, known) : []
        records, facts = ask_about(questions, rows, names)
        instances = rows.zip(records).filter_map { |row, record| instance(row, record) }
        Found.new(@stream, groups(names, facts, instances), instances.sort_by { |one| [one.group, one.name, one.id] })
      end

      private

      # Returns a row for each instance: what is shown of it, or only its names.
      def rows_of(present, known)
        rows = present.to_h { |row| [row.values_at(:group, :instance_id), row] }
        known.each do |group, instance, _|
          rows[[group, instance]] ||= { group: group, instance_id: instance } unless instance.nil? || group.empty?
        end
        rows.values.select { |row| wanted?(row[:group]) }
      end

      def names_of(rows, known)
        return @only if @only

        (rows.map { |row| row[:group] } + known.map(&:first)).uniq.reject(&:empty?).sort
      end

      def wanted?(group)
        @only.nil? || @only.include?(group)
      end

      # Asks for all records and all groups in one round trip.
      def ask_about(questions, rows, names)
        wanted = rows.map { |row| row.values_at(:group, :instance_id) } + names.map { |name| [name, nil] }
        return [[], []] if wanted.empty?

        values, *facts = questions.try([[:records, @stream, wanted], *names.flat_map { |name| queries(name) }])
        values ||= []
        controls = Array.new(names.size) { |index| values[rows.size + index] }
        [values.first(rows.size), facts.each_slice(2).zip(controls).map { |found, control| [*found, control] }]
      end

      def queries(name)
        [[:inbox, @stream, name], [:dead, @stream, name]]
      end

      # A consumer of events may have a record under the same name.
      def instance(row, text)
        record = Record.read(text, @now)
        return if record ? record.kind == :events : row[:seen_ms].nil?

        fields = record ? record.fields : {}
        fields = fields.merge(host: row[:host], pid: row[:pid]) if row[:host]
        Instance.new(kind: :request_reply, **fields, stream: @stream, group: row[:group], id: row[:instance_id],
                     **life(row, fields))
      end

      def life(row, fields)
        seen = row[:seen_ms]
        return gone(fields[:written]) unless seen

        lease = row[:lease_ms] && (row[:lease_ms] / 1_000.0)
        is_alive = ((@now * 1_000) - seen) < row[:dead_after_ms]
        silent = Silence.of(@now - (seen / 1_000.0), alive: is_alive, every: lease)
        { alive: is_alive, seen: Time.at(seen / 1_000r), silent: silent, lease: lease }
      end

      def gone(written)
        { alive: false, seen: written, silent: written && Silence.of(@now - written.to_f, alive: false) }
      end

      def groups(names, facts, instances)
        members = instances.group_by(&:group)
        names.zip(facts).map { |name, found| group(name, found, members.fetch(name, [])) }
      end

      def group(name, (inbox, dead, control), members)
        alive = members.select(&:alive?)
        serving = alive.count { |one| one.serves? && !one.silent }
        counts = { instances: alive.size, serving: serving, dead: dead, **requests(inbox) }
        Group.new(stream: @stream, name: name, known: known?(name, members, counts), outdated: outdated(alive),
                  **counts, **Members.new(alive).fields(*FIELDS), **Control.read(control).fields)
      end

      def outdated(alive)
        heard = alive.reject(&:silent)
        written = (heard.empty? ? alive : heard).filter_map(&:written).min
        age = @now - written.to_f if written
        age if age.to_f > OUTDATED
      end

      # Whether there is anything of a group.
      def known?(name, members, counts)
        members.any? || @known.include?(name) ||
          counts.values_at(:waiting, :taken, :dead).any? { |count| count.to_i.positive? }
      end

      def requests(inbox)
        return {} unless inbox

        length, taken, _, oldest = inbox
        known = taken >= 0
        { waiting: (length - taken if known), taken: (taken if known), oldest: age_of(oldest) }
      end

      def age_of(id)
        (@now - (id.to_i / 1_000.0)).clamp(0.0, nil) if id
      end
    end
    private_constant :StreamReading
  end
end

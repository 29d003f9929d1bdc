# frozen_string_literal: true

module RedisIPC
  class Admin
    # Looks for what an {Overview} does not show: what dead letters have in common, rights that users lack, keys that
    # nobody owns, and slots of PostgreSQL that keep its log. What may not be asked for is left out.
    # @api private
    class Inspection < Findings
      # Bytes of log that a slot may keep.
      MUCH = 1 << 30
      # How many keys are named.
      NAMED = 3
      # How many of the newest dead letters of a group are looked at.
      LETTERS = 50
      private_constant :MUCH, :NAMED, :LETTERS

      # @param link [Link]
      # @param streams [Array<String>]
      # @param postgres [Array<String, Hash, Symbol>] databases
      # @param overview [Overview]
      def initialize(link, streams, postgres, overview)
        super(overview)
        @link = link
        @streams = streams
        @postgres = postgres
        @summaries = {}
      end

      # @return [Array<Finding>] also those of the overview
      def all
        found = super
        [*@overview.findings.map { |finding| finding.kind == :dead_letters ? summed_up(finding) : finding }, *found]
      end

      private

      def look
        [*@overview.groups, *@overview.event_groups].each { |group| letters(group) if group.dead.to_i.positive? }
        rights
        @streams.each { |stream| keys(stream) }
        @postgres.each { |given| slots(given) }
      end

      def letters(group)
        letters = LetterReading.new(@link, group.stream, group.name).page(LETTERS, nil, nil, false)
        return if letters.empty?

        @summaries[group.path] = LetterSummary.new(letters)
        suspects(group, letters)
      rescue CommandError
        # An observer of events may lack the right to read them.
      end

      def summed_up(finding)
        summary = @summaries[finding.subject] or return finding

        text = LogText.line("#{finding.text}#{summary.text}")
        advice = LogText.line([summary.advice, finding.advice].compact.join("; "))
        Finding.new(level: finding.level, kind: finding.kind, subject: finding.subject, text: text, advice: advice)
      end

      # Requests that were with processes that died, and that run again now.
      def suspects(group, letters)
        letters.select(&:suspect?).each do |letter|
          holders = (letter.holders || []).map { |one| one[:host] ? "#{one[:host]} pid #{one[:pid]}" : one[:instance] }
          error(:suspect, group.path, "the request #{letter.request_id} may crash its processes: it was with " \
                                      "#{holders.join(", ")}, and was not answered",
                "look into their logs; #{command("trace", letter.request_id, "-s", group.stream)}; " +
                command("dead", "show", group.name, letter.id, "-s", group.stream))
        end
      end

      def rights
        missing = RightsReading.new(@link, @streams, @overview).call
        missing.each { |one| error(:missing_right, one.path, *RoleRights.told(one.user, one.right, one.rules)) }
      rescue CommandError
        # Only an administrator may ask.
      end

      def keys(stream)
        keys = Cleaning.new(@link, stream).brief
        return if keys.empty?

        named = keys.first(NAMED).join(", ")
        info(:keys_without_owner, stream, "nobody owns #{count(keys.size, "key")}, such as #{named}",
             command("keys", "--clean", "--yes", "-s", stream))
      rescue CommandError
        # Only an operator may list keys.
      end

      def slots(given)
        Events::Hosting.slots_at(given).each { |slot| slot(slot) }
      rescue CallError => e
        error(:postgres, "PostgreSQL", e.message, "look whether it runs, and can be reached from here")
      end

      def slot(slot)
        reader = slot.pid ? "which is read slowly" : "which nobody reads"
        if %w[lost unreserved].include?(slot.status)
          error(:slot, slot.slot, "the slot of PostgreSQL is #{slot.status}: changes are missing, or will be",
                "docs/postgres.md, \"A slot that is lost\", says what to do")
        elsif slot.retained.to_i >= MUCH
          add(slot.pid ? :warning : :error, :slot, slot.slot,
              "PostgreSQL keeps #{(slot.retained / 1e9).round(1)} GB of log for this slot, #{reader}",
              "start its consumer, or drop it if nobody needs it: SELECT pg_drop_replication_slot('#{slot.slot}')")
        end
      end
    end
    private_constant :Inspection
  end
end

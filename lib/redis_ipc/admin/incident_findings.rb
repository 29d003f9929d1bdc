# frozen_string_literal: true

module RedisIPC
  class Admin
    # What went wrong in processes in the last ten minutes, as they wrote it down.
    # @api private
    class IncidentFindings < Findings
      # In seconds.
      RECENT = 600
      # What incidents mean: the level, and what to do.
      INCIDENTS = {
        refused: [:error, "look why Redis refuses it: it goes on until the cause is gone"],
        answer_lost: [:warning, "the asker has waited in vain; look whether Redis was away or full"],
        overrun: [:warning, "a handler ran on after the deadline of its request: raise the timeout, or make it faster"],
        take_over: [:warning, "a process died, hung or was paused; look whether it was killed (memory, deploy)"],
        reconnected: [:info, "Redis or the network was away"]
      }.freeze
      # What Redis may say, and what that means for whatever was refused.
      CAUSES = { full: /\bOOM\b/i, right: /NOPERM|no permissions|the user needs/i }.freeze
      FULL = "Redis is or was full: the finding about maxmemory says more; redis-cli --bigkeys says what fills it"
      # An id of an instance or of a request, in a text.
      ID = /\h{32}|\d{13}-\d+/
      # What was taken over, in the text of that.
      HELD = /\A(.+): the instance that held it died or hung\z/
      # So many subjects of one refusal are named.
      NAMED = 3
      private_constant :RECENT, :INCIDENTS, :CAUSES, :FULL, :ID, :HELD, :NAMED

      # Something that went wrong, and where.
      Row = Struct.new(:subject, :instance, :incident) do
        def kind
          incident.kind
        end

        # @return [Symbol, nil]
        def cause
          CAUSES.find { |_, words| incident.text.match?(words) }&.first if %i[refused answer_lost].include?(kind)
        end

        # A rule names the keys of this instance alone; what is granted is better those of all.
        def text
          incident.text.gsub(/~\S+/) { |key| key.gsub(ID, "*") }
        end

        # What is told once. A full Redis refuses everybody, and a rule may be missing for several.
        def told_as
          case cause
          when :full then [kind, :full]
          when :right then [kind, incident.text.gsub(ID, "*")]
          else [kind, subject]
          end
        end
      end
      private_constant :Row

      private

      def look
        rows = members.flat_map { |subject, instances| rows(subject, instances) }
        rows.group_by(&:told_as).each_value { |same| tell(same) }
      end

      def rows(subject, instances)
        found = instances.flat_map { |one| (one.incidents || []).map { |incident| Row.new(subject, one, incident) } }
        found.select { |row| INCIDENTS.key?(row.kind) && recent?(row.incident) }
      end

      def recent?(incident)
        incident.at && @overview.at - incident.at < RECENT
      end

      def tell(rows)
        last = rows.max_by { |row| row.incident.at }
        level, advice = INCIDENTS.fetch(last.kind)
        advice = { full: FULL, right: right(last.instance) }.fetch(last.cause, advice)
        at = "#{since(last.incident.at)} ago#{more(rows)}"
        text = taken_over(last, at) || "#{last.text} (#{last.instance.name}, #{at})"
        add(level, last.kind, subjects(rows), text, advice)
      end

      # The one that wrote it down is well: it has what another one held.
      def taken_over(row, at)
        what = row.incident.text[HELD, 1] if row.kind == :take_over
        what && "#{row.instance.kind == :events ? "event" : "request"} #{what} was taken over by " \
                "#{row.instance.name} from a process that died or hung (#{at})"
      end

      def subjects(rows)
        listed(rows.map(&:subject).uniq, NAMED)
      end

      def more(rows)
        return if rows.one?

        instances = rows.map(&:instance).uniq.size
        "; #{rows.size} in ten minutes#{" on #{instances} instances" if instances > 1}"
      end

      def right(instance)
        "grant the right that is named; all rules: #{rules(instance)}"
      end

      # Prints the rules of a process.
      def rules(one)
        case one.kind
        when :json_rpc then command("acl", "print", "json_rpc_server", "-q", one.stream)
        when :events then command("acl", "print", "event_consumer", "-s", one.stream, "-g", one.group)
        else rules_of_member(one)
        end
      end

      def rules_of_member(one)
        asked = (one.outcomes || {}).keys - ["*"]
        answers = one.serves? || asked.empty?
        [*(RoleRights.printing(:answerer, stream: one.stream, group: one.group) if answers),
         *(RoleRights.printing(:asker, stream: one.stream, group: one.group, to: asked) if asked.any?)].join("; ")
      end
    end
    private_constant :IncidentFindings
  end
end

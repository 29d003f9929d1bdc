# frozen_string_literal: true

module RedisIPC
  class Admin
    # What is wrong with groups of streams.
    # @api private
    class GroupFindings < Findings
      # Requests that wait for longer are told.
      OLD = 2.0
      # From this share of failures on it is told, if there are as many in ten minutes.
      FAILING = 0.2
      MANY = 10
      # The ends of calls that were answered.
      ANSWERED = %w[fulfilled rejected].freeze
      private_constant :OLD, :FAILING, :MANY, :ANSWERED

      private

      def look
        @overview.groups.each do |group|
          waiting(group)
          paused(group, group.path, group.stream, group.name)
          failing(group)
          dead(group)
        end
        never_served
      end

      def waiting(group)
        return unless group.waiting.to_i.positive?

        if group.serving.zero?
          error(:nobody_serves, group.path, "#{wait(group.waiting, "request")}, and no instance is alive",
                "start a process that serves #{group.name}")
        elsif group.oldest.to_f > OLD && !group.paused?
          text = "#{wait(group.waiting, "request")}, the oldest for #{seconds(group.oldest)}#{busy(group)}"
          warning(:waiting, group.path, text,
                  "start more instances, raise consumer: {pool_size:}, or find out what is slow")
        end
      end

      def busy(group)
        "; #{group.busy} of #{group.handlers} handlers are busy" if group.handlers && group.busy
      end

      def failing(group)
        asked, answered, failed = %i[asked answered failed].map { |name| group.series&.public_send(name).to_a.sum }
        return unless failed >= MANY && failed > (asked + answered) * FAILING

        text, advice = failures(group, asked, answered)
        text = failed > asked + answered ? "#{count(failed, "failure")}, and #{text}," : "#{failed} of #{text} failed"
        warning(:failing, group.path, "#{text} in ten minutes", advice)
      end

      # A group that only asks fails where it is not answered.
      def failures(group, asked, answered)
        logs = "look into the logs of its instances; #{dead_list(group)}"
        return ["#{answered} requests that it answered", logs] if asked.zero?

        calls = "who of those that it asks is slow, paused or missing: #{command("groups", "-s", group.stream)}"
        return ["#{asked} of its calls#{to_whom(group)}", calls] if answered.zero?

        ["#{asked} of its calls#{to_whom(group)} and #{answered} requests that it answered", "#{logs}; #{calls}"]
      end

      # The records count how calls ended since the process connected.
      def to_whom(group)
        name, ends = lost_calls(group).max_by { |_, counts| counts.values.sum }
        return unless name

        ends = ends.map { |how, count| "#{count} #{how}" }.join(", ")
        " (since it connected most that failed were to #{name}: #{ends})"
      end

      # Returns by the group that was asked how many calls ended in which way without an answer.
      def lost_calls(group)
        lost = Hash.new { |all, name| all[name] = Hash.new(0) }
        own = @overview.instances.select { |one| one.stream == group.stream && one.group == group.name && one.alive? }
        own.flat_map { |one| one.outcomes.to_a }.each do |name, ends|
          ends.except(*ANSWERED).each { |how, count| lost[name][how] += count if count.positive? }
        end
        lost
      end

      def dead(group)
        return unless group.dead.to_i.positive?

        warning(:dead_letters, group.path, "it has #{count(group.dead, "dead letter")}",
                "#{dead_list(group)}; mend the cause, then retry or discard them")
      end

      def dead_list(group)
        command("dead", "list", group.name, "-s", group.stream)
      end

      # A name that is asked, and that no process has joined, is likely misspelt.
      def never_served
        groups = @overview.groups.group_by(&:stream)
        @overview.instances.group_by(&:stream).each do |stream, instances|
          known = groups.fetch(stream, []).map(&:name)
          asked(instances).except(*known, "*").each { |name, askers| unknown(stream, name, askers, known) }
        end
      end

      # Returns by each name that was asked the groups that did so.
      def asked(instances)
        rows = instances.flat_map { |one| (one.outcomes || {}).keys.map { |name| [name, one.group] } }
        rows.uniq.group_by(&:first).transform_values { |same| same.map(&:last) }
      end

      def unknown(stream, name, askers, known)
        meant = DidYouMean::SpellChecker.new(dictionary: known).correct(name).first
        text = "#{askers.join(" and ")} asked #{name}, and no process has joined #{name} in the last week"
        error(:never_served, "#{stream}/#{name}", text,
              meant ? "did you mean #{meant}?" : "start a process that serves it, or mend the name where it is asked")
      end
    end
    private_constant :GroupFindings
  end
end

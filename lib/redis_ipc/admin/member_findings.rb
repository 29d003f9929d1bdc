# frozen_string_literal: true

module RedisIPC
  class Admin
    # What is wrong with processes, of groups, queues and consumers of events alike.
    # @api private
    class MemberFindings < Findings
      # A handler that runs for longer than so many leases is told, and at least for so many seconds.
      LEASES = 3
      LONG = 10.0
      # One instance is slow if its 95th percentile is so many times that of the others together, and so many seconds.
      TIMES = 3
      SLOW = 0.01
      # That needs so many instances, and so many values of each.
      INSTANCES = 2
      VALUES = 20
      # Settings that are milliseconds.
      TIMES_OF = %w[lease longest_ttl].freeze
      private_constant :LEASES, :LONG, :TIMES, :SLOW, :INSTANCES, :VALUES, :TIMES_OF

      private

      def look
        members.each do |subject, instances|
          alive = instances.select(&:alive?)
          stuck(subject, alive.reject(&:silent))
          disagreeing(subject, alive)
          slow(subject, alive)
          died(subject, instances - alive)
          versions(subject, alive)
        end
      end

      def stuck(subject, alive)
        instance = alive.select { |one| long?(one, one.oldest) }.max_by { |one| one.oldest.age }
        return unless instance

        handlers, busy = %i[handlers busy].map { |name| alive.sum { |one| one.public_send(name).to_i } }
        oldest = instance.oldest
        text = "#{busy} of #{count(handlers, "handler")} busy; #{hanging(alive, instance, oldest)}"
        add(handlers.positive? && busy >= handlers ? :error : :warning, :stuck_handlers, subject, text,
            "#{look_at(oldest)}; all that runs: #{all_that_runs(instance)}")
      end

      def all_that_runs(one)
        return command("instances", "-q", one.stream, "--long") if one.kind == :json_rpc

        command("instances", one.group, one.kind == :events ? "--events" : "-s", one.stream, "--long")
      end

      # Handlers hang together mostly.
      def hanging(alive, instance, oldest)
        same = alive.sum { |one| (one.running || []).count { |running| running.frame == oldest.frame } }
        if oldest.frame.nil? || same < 2
          return "on #{instance.name} one has been running for #{seconds(oldest.age)}#{what(oldest)}"
        end

        "#{same} of them at #{oldest.frame}, the oldest for #{seconds(oldest.age)} on #{instance.name}"
      end

      def look_at(running)
        running.frame ? "look at that line: what does it wait for?" : "find out what it waits for"
      end

      def long?(instance, running)
        running&.age.to_f > [LONG, LEASES * instance.lease.to_f].max
      end

      def what(running)
        event = ", #{running.event}" if running.event
        frame = " at #{running.frame}" if running.frame
        "#{event}#{frame}"
      end

      def disagreeing(subject, alive)
        settings(alive).each do |setting, names_by_value|
          next if names_by_value.size < 2

          # The odd one first.
          rows = names_by_value.sort_by.with_index { |(_, names), index| [names.size, index] }
          texts = rows.map { |value, names| "#{shown(setting, value)} on #{names.uniq.join(", ")}" }
          error(:disagreeing_settings, subject, "#{setting} is #{texts.join(", and ")}#{effect(setting, rows)}",
                "give all instances of the group the same #{setting}")
        end
      end

      def shown(setting, value)
        TIMES_OF.include?(setting) && value.is_a?(Numeric) ? seconds(value / 1_000.0) : value.inspect
      end

      # Instances believe that those with the longest lease are still at work.
      def effect(setting, rows)
        longest = rows.map(&:first).grep(Numeric).max
        return unless setting == "lease" && longest

        "; the longest counts: what a dead process held is taken over only after #{shown(setting, longest)}"
      end

      # Returns for each setting, and each value of it, who has it. An instance that takes nothing has no settings.
      def settings(alive)
        found = Hash.new { |settings, setting| settings[setting] = Hash.new { |values, value| values[value] = [] } }
        alive.each { |one| one.settings&.each { |setting, value| found[setting][value] << one.name } }
        found
      end

      def slow(subject, alive)
        measured = alive.select { |one| measured?(one.run) }
        return if measured.size < INSTANCES

        measured.each do |one|
          own = one.run.p(0.95)
          rest = measured - [one]
          others = Histogram.merge(rest.map(&:run)).p(0.95)
          slower(subject, one, own, others, rest.size) if own > SLOW && own > others * TIMES
        end
      end

      def measured?(histogram)
        histogram && histogram.count >= VALUES && histogram.p(0.95)
      end

      def slower(subject, instance, own, others, number)
        times = "#{(own / others).round} times " if others.positive?
        rest = number == 1 ? "the other one" : "the #{number} others"
        warning(:slow_instance, subject,
                "#{instance.name} is #{times}slower than #{rest} (p95 #{seconds(own)}, theirs #{seconds(others)})",
                "take it out: #{quieting(instance)}; then look at its machine (CPU, memory) and at what it calls")
      end

      def quieting(one)
        return command("pause", one.group, "-s", one.stream, "--instance", one.id) if one.kind == :request_reply

        "RedisIPC::Admin#quiet(#{[one.stream, one.group, one.id].map(&:inspect).join(", ")})"
      end

      def died(subject, dead)
        last = dead.select(&:written).max_by(&:written)
        return unless last

        others = ", and #{dead.size - 1} more in ten minutes" if dead.size > 1
        warning(:died, subject, "#{last.name} has been silent for #{whole(silence(last))} and has not left#{others}",
                "look why: killed, out of memory, crashed, frozen, or cut off from Redis")
      end

      def silence(one)
        one.silent || (@overview.at - one.written).clamp(0.0, nil)
      end

      def versions(subject, alive)
        versions = alive.filter_map(&:gem).uniq.sort
        return if versions.size < 2

        info(:versions, subject, "its instances have versions #{versions.join(" and ")}", "finish the deploy")
      end
    end
    private_constant :MemberFindings
  end
end

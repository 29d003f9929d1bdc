# frozen_string_literal: true

module RedisIPC
  class Admin
    # What is wrong with consumers of events.
    # @api private
    class EventFindings < Findings
      # Events that wait for longer are told.
      OLD = 60.0
      # A lag from which on it is told.
      MUCH = 10_000
      # For how long losses are told, in seconds.
      RECENT = 86_400
      private_constant :OLD, :MUCH, :RECENT

      private

      def look
        @overview.event_groups.each do |group|
          lag(group)
          lanes(group)
          losses(group)
          paused(group, group.path, group.stream, group.name)
          dead(group)
        end
      end

      def lag(group)
        return unless group.lag.to_i.positive?

        if group.instances.none?(&:alive?)
          error(:nobody_serves, group.path, "#{wait(group.lag, "event")}, and no process is alive",
                "start the consumer, or delete its group if nobody needs it: RedisIPC::Events.delete_group")
        elsif !group.paused? && behind?(group)
          oldest = ", the oldest for #{seconds(group.oldest)}" if group.oldest
          warning(:lag, group.path, "#{wait(group.lag, "event")}#{oldest}#{busy(group)}",
                  "start more processes, or find out what is slow or fails; what is trimmed meanwhile is lost")
        end
      end

      def busy(group)
        return unless group.handlers && group.busy

        each = ", #{seconds(group.run.mean)} each" if group.run&.mean
        "; #{group.busy} of #{count(group.handlers, "handler")} are busy#{each}"
      end

      def behind?(group)
        group.oldest.to_f > OLD || group.lag > MUCH
      end

      def lanes(group)
        return unless group.lanes && group.instances.any?(&:alive?) && group.lanes_owned < group.lanes

        warning(:free_lanes, group.path, "#{group.lanes - group.lanes_owned} of #{group.lanes} lanes have no owner",
                "after a process died that lasts for a lease; if it goes on, look into the logs of the others")
      end

      def losses(group)
        recent = group.losses.select { |loss| loss.at && @overview.at - loss.at < RECENT }
        return if recent.empty?

        last = recent.last
        error(:losses, group.path,
              "events may be missing: #{recent.map(&:cause).uniq.join(", ")}, #{number(last)} the last time, " \
              "#{since(last.at)} ago", "docs/events.md, \"Losses\", says what to do about each cause")
      end

      def number(loss)
        return "at least #{loss.at_least}" if loss.at_most.nil?

        loss.at_least == loss.at_most ? loss.at_most.to_s : "#{loss.at_least.to_i} to #{loss.at_most}"
      end

      def dead(group)
        return unless group.dead.to_i.positive?

        warning(:dead_letters, group.path, "it has #{count(group.dead, "dead letter")}",
                "#{command("dead", "list", group.name, "--events", group.stream)}; mend the cause, then retry or " \
                "discard them")
      end
    end
    private_constant :EventFindings
  end
end

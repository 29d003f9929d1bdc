# frozen_string_literal: true

module RedisIPC
  class Admin
    # What is wrong with groups of streams.
    # @api private
    class GroupFindings < Findings
      # Requests that wait longer are told.
      OLD = 2.0
      private_constant :OLD

      private

      def look
        @overview.groups.each do |group|
          nobody(group)
          paused(group)
          dead(group)
        end
      end

      def nobody(group)
        return unless group.serving.zero? && group.waiting.to_i.positive?

        error(:nobody_serves, group.path, "#{count(group.waiting, "request")} wait, and no instance is alive",
              "start a process that serves the group #{group.name}")
      end

      def paused(group)
        return unless group.paused?

        by = " by #{group.paused_by}" if group.paused_by
        since = " since #{group.paused_at.utc.iso8601}" if group.paused_at
        warning(:paused, group.path, "it is paused#{by}#{since}", "redis_ipc resume #{group.name}")
      end

      def dead(group)
        return unless group.dead.to_i.positive?

        warning(:dead_letters, group.path, "it has #{count(group.dead, "dead letter")}",
                "look with redis_ipc dead list #{group.name}, mend the cause, then retry or discard them")
      end
    end
    private_constant :GroupFindings
  end
end

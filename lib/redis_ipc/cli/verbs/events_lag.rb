# frozen_string_literal: true

require_relative "../event_verb"

module RedisIPC
  module CLI
    module Verbs
      # Says how far consumers are behind.
      # @api private
      class EventsLag < EventVerb
        verb "events lag"
        summary "say how far consumers are behind, for checks"
        about <<~TEXT
          Prints how many events each group has still to be given, and how old the first of them is. With --max or
          --max-age the exit status tells whether one is too far behind, so that a check can call it.
        TEXT
        option :max, "--max NUMBER", "more events than that are too many", type: Integer, least: 0
        option :max_age, "--max-age SECONDS", "an older event is too old", type: Float, least: 0
        shares_all
        ends_with 0 => "no group is too far behind", 1 => "one is too far behind, or its lag is not known"
        example "redis_ipc events lag orders --max-age 60", "fails if an event of orders waits for over a minute"

        TITLES = %w[group lag oldest pending].freeze
        private_constant :TITLES

        def run
          groups = event_groups
          show(groups, TITLES, none: none) { |group| cells(group) }
          groups.any? { |group| behind?(group) } ? ExitStatus::FINDING : ExitStatus::FINE
        end

        private

        def cells(group)
          color = :red if behind?(group)
          [cell(group.path, color), cell(group.lag, color), cell(Units.duration(group.oldest), color), group.pending]
        end

        # Redis cannot tell the lag of a group any more once entries before its end were deleted.
        def behind?(group)
          many = given[:max] && (group.lag.nil? ? stream?(group) : group.lag > given[:max])
          many || (given[:max_age] && group.oldest.to_f > given[:max_age])
        end

        def stream?(group)
          admin.consumers.include?(group.stream)
        end
      end
    end
  end
end

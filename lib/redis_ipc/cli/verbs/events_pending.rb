# frozen_string_literal: true

require_relative "../event_verb"

module RedisIPC
  module CLI
    module Verbs
      # Lists what handlers of events do.
      # @api private
      class EventsPending < EventVerb
        verb "events pending"
        summary "list the events that handlers have, and for how long"
        about <<~TEXT
          Lists the events that run in the processes of each group, the oldest first: at most 16 of each process. One
          that runs longer than a lease has the line of the application where its handler stands.
        TEXT
        shares_all
        example "redis_ipc events pending orders --group billing", "shows what the handlers of a group are doing"

        TITLES = ["group", "process", "event", "type", "attempt", "runs for", "at"].freeze
        private_constant :TITLES

        def run
          rows = event_groups.flat_map do |group|
            group.instances.flat_map { |instance| Array(instance.running).map { |one| [group, instance, one] } }
          end
          rows = rows.sort_by { |_, _, one| -one.age.to_f }
          return json(rows) if terminal.json?

          terminal.say(rows.empty? ? "no handler runs" : terminal.table(TITLES, rows.map { |row| cells(*row) }))
        end

        private

        def json(rows)
          found = rows.map do |group, instance, one|
            { stream: group.stream, group: group.name, instance: instance.id, process: instance.name, **one.to_h }
          end
          terminal.json(found, lines: !given[:watch].nil?)
        end

        def cells(group, instance, one)
          [group.path, instance.name, one.id, one.event, one.delivery, Units.duration(one.age), one.frame]
        end
      end
    end
  end
end

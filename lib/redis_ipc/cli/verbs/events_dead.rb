# frozen_string_literal: true

require_relative "../event_verb"

module RedisIPC
  module CLI
    module Verbs
      # Counts the dead letters of consumers of events.
      # @api private
      class EventsDead < EventVerb
        verb "events dead"
        summary "list the events that consumers gave up on"
        about <<~TEXT
          Lists the dead letters of the groups that handle the events of the streams, the newest first. What a letter
          has in it, and what to do with it: redis_ipc dead show, retry and discard, with --events STREAM.
        TEXT
        option :limit, "-n", "--limit NUMBER", "at most so many of each group (20)",
               type: Integer, default: 20, least: 1
        shares_all
        ends_with 0 => "there are none", 1 => "there are some"
        example "redis_ipc events dead orders", "lists the dead letters of all groups of a stream"

        TITLES = ["group", "letter", "given up on", "attempts", "type", "key", "reason"].freeze
        private_constant :TITLES

        def run
          found = event_groups.select { |group| group.dead.to_i.positive? }.flat_map do |group|
            admin.event_dead_letters(group.stream, group.name, limit: given[:limit])
          end
          show(found, TITLES, none: "no event was given up on") { |letter| cells(letter) }
          found.empty? ? ExitStatus::FINE : ExitStatus::FINDING
        end

        private

        def cells(letter)
          ["#{letter.stream}/#{letter.group}", letter.id, clock(letter.died_at), letter.deliveries, letter.event,
           letter.key, letter.reason]
        end
      end
    end
  end
end

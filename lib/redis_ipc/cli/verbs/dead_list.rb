# frozen_string_literal: true

require_relative "../dead_verb"

module RedisIPC
  module CLI
    module Verbs
      # Lists dead letters.
      # @api private
      class DeadList < DeadVerb
        verb "dead list"
        summary "list the requests or events that a group gave up on"
        about <<~TEXT
          Lists dead letters, the newest first, with the reason of each. Their contents are not read:
          redis_ipc dead show has them. Requests that were taken over are among them until they are answered, because
          they may crash every process that takes them; the reason says so.
        TEXT
        option :limit, "-n", "--limit NUMBER", "at most so many (50)", type: Integer, default: 50, least: 1
        option :match, "-m", "--match TEXT", "only those with this text in one of their fields"
        example "redis_ipc dead list kitchen -s house --match IOError", "lists those with this error"
        example "redis_ipc dead list billing --events orders", "lists those of a consumer of events"

        TITLES = ["letter", "given up on", "deliveries", "from", "event", "key", "reason"].freeze
        private_constant :TITLES

        def run
          # One more than are shown says whether there are more.
          found = letters(given[:limit] + 1, given[:match])
          list(found.first(given[:limit]))
          terminal.warn("redis_ipc: there are more, which are older: --limit NUMBER") if found.size > given[:limit]
        end

        private

        def list(found)
          columns = TITLES.each_index.select { |index| index < 3 || index == 6 || found.any? { |one| all(one)[index] } }
          show(found, TITLES.values_at(*columns), none: "there are no dead letters of #{place}") do |letter|
            all(letter).values_at(*columns)
          end
        end

        def all(letter)
          reason = letter.suspect? ? cell(letter.reason, :yellow) : letter.reason
          [letter.id, clock(letter.died_at), letter.deliveries, letter.from, letter.event, letter.key, reason]
        end
      end
    end
  end
end

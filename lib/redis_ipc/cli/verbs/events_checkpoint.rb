# frozen_string_literal: true

require_relative "../admin_verb"

module RedisIPC
  module CLI
    module Verbs
      # Shows and moves the position of a group in its stream.
      # @api private
      class EventsCheckpoint < AdminVerb
        verb "events checkpoint"
        summary "show how far a group has come, or let it go on elsewhere"
        about <<~TEXT
          Prints the position of GROUP in STREAM. With --seek it goes on from another one: from an earlier one events
          are delivered once more, up to a later one they are left out. Then --yes is needed.
        TEXT
        argument :stream, "the stream of events"
        argument :group, "the group"
        option :seek, "--seek POSITION", "beginning, new, a time such as 2026-11-28T03:00:00Z, or an id"
        option :yes, "-y", "--yes", "do what --seek says"
        shares :redis, :json
        ends_with 0 => "it was shown, or moved", 1 => "there is no such group"
        example "redis_ipc events checkpoint orders billing", "shows the position"
        example "redis_ipc events checkpoint orders billing --seek 2026-11-28T03:00:00Z --yes",
                "has everything since three o'clock handled once more"

        def run
          group = admin.event_groups(given[:stream]).find { |one| one.name == given[:group] }
          return absent unless group
          return seek if given[:seek]

          terminal.json? ? terminal.json(facts(group)) : terminal.say(lines(facts(group)))
        end

        private

        def names
          { consumers: [given[:stream]] }
        end

        def absent
          terminal.warn("redis_ipc: no group #{LogText.of(given[:group])} handles the events of " \
                        "#{LogText.of(given[:stream])}")
          ExitStatus::FINDING
        end

        def facts(group)
          { checkpoint: group.checkpoint, lag: group.lag, oldest: group.oldest, pending: group.pending }
        end

        def lines(facts)
          facts = facts.merge(oldest: Units.duration(facts[:oldest]))
          facts.map { |name, value| LogText.line("#{name.to_s.ljust(12)}#{value || "-"}") }
        end

        def seek
          position = read(given[:seek])
          raise UsageError, "--seek moves the group; say --yes" unless given[:yes]

          moved = admin.seek(given[:stream], given[:group], position)
          terminal.json? ? terminal.json({ checkpoint: moved }) : terminal.say("goes on from #{moved}")
        end

        def read(text)
          return text.to_sym if %w[beginning new].include?(text)

          text.match?(/\A\d+(-\d+)?\z/) ? text : Time.iso8601(text)
        rescue ArgumentError
          raise UsageError, "--seek #{text.inspect} is no position: beginning, new, an id or a time such as " \
                            "2026-11-28T03:00:00Z"
        end
      end
    end
  end
end

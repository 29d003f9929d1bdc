# frozen_string_literal: true

require_relative "../event_verb"

module RedisIPC
  module CLI
    module Verbs
      # Lists what events consumers have lost.
      # @api private
      class EventsLosses < EventVerb
        verb "events losses"
        summary "list which events may have been lost, when and why"
        about <<~TEXT
          Lists the losses that consumers have told of, the oldest first: what a stream lost unread, what was published
          while no subscription stood, what a replication slot did not keep. Each has bounds for how many events that
          were, and the time in which they happened, as far as they are known.
        TEXT
        shares_all
        ends_with 0 => "no loss is known", 1 => "there was one"
        example "redis_ipc events losses orders", "lists what the consumers of orders have lost"

        TITLES = ["group", "told at", "cause", "at least", "at most", "from", "to"].freeze
        private_constant :TITLES

        def run
          losses = event_groups.flat_map { |group| group.losses.map { |loss| [group, loss] } }
          if terminal.json?
            rows = losses.map { |group, loss| { stream: group.stream, group: group.name, **loss.to_h } }
            terminal.json(rows, lines: !given[:watch].nil?)
          else
            terminal.say(losses.empty? ? "no loss is known" : table(losses))
          end
          losses.empty? ? ExitStatus::FINE : ExitStatus::FINDING
        end

        private

        def table(losses)
          rows = losses.map do |group, loss|
            [group.path, clock(loss.at), loss.cause, loss.at_least, loss.at_most, clock(loss.since), clock(loss.until)]
          end
          terminal.table(TITLES, rows)
        end
      end
    end
  end
end

# frozen_string_literal: true

require_relative "../dead_verb"

module RedisIPC
  module CLI
    module Verbs
      # Shows a dead letter.
      # @api private
      class DeadShow < DeadVerb
        verb "dead show"
        summary "show one dead letter, with its content"
        about "Prints what is known of a dead letter. With --content that includes what was sent, which may be secret."
        argument :id, "the id of the letter"
        option :content, "-c", "--content", "print what was sent"
        ends_with 0 => "it is there", 1 => "it is not there"
        example "redis_ipc dead show kitchen 1795851827288-0 -s house --content", "shows what the handlers failed on"

        def run
          letter = letter(given[:id])
          unless letter
            terminal.warn("redis_ipc: there is no dead letter #{LogText.of(given[:id])} of #{place}")
            return ExitStatus::FINDING
          end

          facts = letter.to_h.compact
          facts = facts.merge(content: letter.content) if given[:content]
          terminal.json? ? terminal.json(facts) : terminal.say(lines(facts))
        end

        private

        # The processes that had a request are an Array of Hashes.
        def shown(value)
          value.is_a?(Array) ? JSONText.of(value) : value.to_s
        end

        def lines(facts)
          width = facts.keys.map(&:size).max
          facts.map do |name, value|
            text = name == :content ? "\n#{terminal.pretty(value)}" : LogText.line(shown(value))
            "#{name.to_s.tr("_", " ").ljust(width)}  #{text}"
          end
        end
      end
    end
  end
end

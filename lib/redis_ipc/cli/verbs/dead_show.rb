# frozen_string_literal: true

require_relative "../content_text"
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

          terminal.json? ? terminal.json(facts(letter)) : terminal.say(lines(letter))
        end

        private

        # The processes that had a request are an Array of Hashes.
        def shown(value)
          value.is_a?(Array) ? JSONText.of(value) : value.to_s
        end

        def facts(letter)
          facts = letter.to_h.compact
          given[:content] ? facts.merge(ContentText.facts(letter.content, sent(letter))) : facts
        end

        def sent(letter)
          letter.fields.values_at("content", "data").compact.first
        end

        def lines(letter)
          rows = letter.to_h.compact.transform_values { |value| LogText.line(shown(value)) }
          rows[:content] = given[:content] ? content(letter) : "--content prints what was sent"
          width = rows.keys.map(&:size).max
          rows.map { |name, text| "#{name.to_s.tr("_", " ").ljust(width)}  #{text}" }
        end

        def content(letter)
          ContentText.of(letter.content, sent(letter)) { |content| "\n#{terminal.pretty(content)}" }
        end
      end
    end
  end
end

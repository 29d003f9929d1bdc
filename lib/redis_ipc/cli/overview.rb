# frozen_string_literal: true

module RedisIPC
  module CLI
    # The list of verbs.
    # @api private
    module Overview
      class << self
        # @param group [String, nil] the first word of the verbs; nil means all verbs
        # @param width [Integer]
        # @return [String]
        def text(group = nil, width: 80)
          chapters = group ? { "Verbs" => Catalog.group(group) } : Catalog.chapters
          names = chapters.values.flatten.map { |verb| verb.verb.size }.max + 2
          parts = chapters.map { |title, verbs| chapter(title, verbs, names, width) }
          "Usage: redis_ipc #{"#{group} " if group}VERB [options]\n\n#{parts.join("\n\n")}\n\n#{more}\n"
        end

        private

        def chapter(title, verbs, names, width)
          lines = verbs.map do |verb|
            text = verb.summary
            room = width - names - 2
            text = "#{text[0, room - 1]}…" if text.size > room
            "  #{verb.verb.ljust(names)}#{text}"
          end
          "#{title}:\n#{lines.join("\n")}"
        end

        def more
          "redis_ipc VERB --help shows the options of a verb, with examples."
        end
      end
    end
  end
end

# frozen_string_literal: true

module RedisIPC
  module CLI
    # The text of `--help`.
    # @api private
    class Help
      INDENT = "  "
      # The longest name of an option that shares a line with its text.
      NAMES = 28
      private_constant :INDENT, :NAMES

      # @param verb [Class]
      # @param width [Integer] of the lines
      def initialize(verb, width: 80)
        @verb = verb
        @width = width
      end

      # @return [String]
      def to_s
        parts = [head, paragraphs(@verb.about), section("Arguments", arguments), section("Options", own),
                 section("Common options", common), section("Exit status", statuses), examples]
        "#{parts.reject(&:empty?).join("\n\n")}\n"
      end

      private

      def head
        "Usage: #{@verb.usage}\n\n#{wrap(sentence(@verb.summary)).join("\n")}"
      end

      def sentence(text)
        "#{text[0].upcase}#{text[1..]}."
      end

      # Joins the lines of each paragraph and wraps it. Indented paragraphs stay as they are.
      def paragraphs(text)
        parts = text.split("\n\n").map do |part|
          part.start_with?(" ") ? part.chomp : wrap(part.split.join(" ")).join("\n")
        end
        parts.join("\n\n")
      end

      def section(title, rows)
        rows.empty? ? "" : "#{title}:\n#{rows.flat_map { |name, text| row(name, text) }.join("\n")}"
      end

      def row(name, text)
        first, *rest = wrap(text, @width - NAMES - INDENT.size)
        margin = " " * (NAMES + INDENT.size)
        lines = [*first, *rest].map { |line| "#{margin}#{line}" }
        label = "#{INDENT}#{name}"
        return [label, *lines] if name.size > NAMES - INDENT.size

        ["#{label.ljust(margin.size)}#{first}", *lines.drop(1)]
      end

      def arguments
        @verb.arguments.map { |argument| [argument.title, text_of(argument)] }
      end

      def own
        rows(@verb.own_options)
      end

      def common
        rows(@verb.common_options)
      end

      def rows(options)
        options.map { |option| [flags(option), text_of(option)] }
      end

      # Options without a short flag line up with those that have one.
      def flags(option)
        option.flags.size > 1 ? option.flags.join(", ") : "#{" " * 4}#{option.flags.first}"
      end

      def text_of(declared)
        choices = declared.choices
        choices ? "#{declared.text}: #{choices.join(", ")}" : declared.text
      end

      def statuses
        @verb.statuses.map { |status| [status.to_s, @verb.meaning(status)] }
      end

      def examples
        return "" if @verb.examples.empty?

        lines = @verb.examples.flat_map do |command, text|
          ["#{INDENT}#{command}", *wrap(text, @width - 6).map { |line| "#{" " * 6}#{line}" }]
        end
        "Examples:\n#{lines.join("\n")}"
      end

      def wrap(text, width = @width)
        text.split.each_with_object([]) do |word, lines|
          if lines.empty? || lines.last.size + 1 + word.size > width
            lines << word.dup
          else
            lines.last << " " << word
          end
        end
      end
    end
  end
end

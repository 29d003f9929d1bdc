# frozen_string_literal: true

require "json"
require_relative "table"

module RedisIPC
  module CLI
    # What a verb prints: text, tables or JSON on standard output, and what is about the command itself on standard
    # error. Colours are for terminals only.
    # @api private
    class Terminal
      COLORS = { red: 31, green: 32, yellow: 33, blue: 34, gray: 90, bold: 1 }.freeze
      # The width of help that no terminal limits.
      WIDTH = 80
      # The lines of a terminal that does not say how many it has.
      HEIGHT = 24
      # Longer lines of help are hard to read.
      WIDEST = 100
      # Begins a page at the top of the terminal, and leaves what has scrolled away.
      CLEAR = "\e[H\e[2J"
      # Matches what a terminal could obey, and JSON does not escape.
      OBEYED = /[\u007f-\u009f\p{Cf}\u2028\u2029]/
      private_constant :COLORS, :WIDTH, :HEIGHT, :WIDEST, :CLEAR, :OBEYED

      # @return [Boolean] whether standard output is a terminal
      def terminal?
        $stdout.tty?
      end

      # @return [Integer, nil] the columns of the terminal; nil if standard output is none
      def columns
        return unless terminal?

        require "io/console"
        # A terminal that was not told its size says 0.
        [ENV["COLUMNS"].to_i, $stdout.winsize.last, WIDTH].find(&:positive?)
      rescue SystemCallError
        WIDTH
      end

      # @return [Integer] the lines of the terminal
      def rows
        require "io/console"
        [$stdout.winsize.first, HEIGHT].find(&:positive?)
      rescue SystemCallError
        HEIGHT
      end

      # @return [Integer] of the lines of a text
      def text_width
        (columns || WIDTH).clamp(40, WIDEST)
      end

      # @param json [Boolean] whether a verb prints JSON
      # @param color [Boolean] whether colours are wanted, if standard output is a terminal
      # @return [void]
      def set(json:, color:)
        @json = json
        @colored = color && terminal? && ENV["NO_COLOR"].to_s.empty? && ENV["TERM"] != "dumb"
      end

      # @return [Boolean]
      def json?
        @json == true
      end

      # @param lines [Array<String>]
      # @return [void]
      def say(*lines)
        # One write keeps the lines in one piece.
        $stdout.write("#{@page}#{lines.flatten.join("\n")}\n")
        $stdout.flush
        @page = nil
      end

      # @param text [String] about the command itself
      # @return [void]
      def warn(text)
        $stderr.write("#{text}\n")
      end

      # Says on standard error how far something is, if that is a terminal.
      # @param text [String, nil] nil removes it
      # @return [void]
      def progress(text = nil)
        return unless $stderr.tty?

        $stderr.write("\r\e[K#{text}")
      end

      # @param text [String]
      # @param color [Symbol, nil]
      # @return [String]
      def paint(text, color)
        @colored && color ? "\e[#{COLORS.fetch(color)}m#{text}\e[0m" : text
      end

      # @param text [String] one that another process may have written a part of
      # @param margin [Integer] the columns that are taken
      # @return [Array<String>] lines that fit the terminal; a single one where there is none
      def wrap(text, margin: 0)
        text = LogText.line(text)
        return [text] unless terminal?

        text.scan(/\S.{0,#{[columns - margin - 1, 20].max}}(?=\s|\z)|\S+/)
      end

      # @param value [Object]
      # @param lines [Boolean] whether the document must be one line, because others follow
      # @return [void]
      def json(value, lines: false)
        say(lines ? escaped(JSONText.of(value)) : pretty(value))
      end

      # @param value [Object]
      # @return [String] JSON for people
      def pretty(value)
        # JSON writes an empty Array on three lines.
        escaped(JSONText.pretty(value).gsub(/\[\n\s*\]/, "[]"))
      end

      # @param text [String] one that another process has sent
      # @return [String] what may be printed: a terminal would obey control characters
      def plain(text)
        terminal? ? text.lines.map { |line| LogText.line(line.chomp) }.join("\n") : text
      end

      # @param titles [Array<String>]
      # @param rows [Array<Array>] as for {Table}
      # @param spare [Array<String>] as for {Table}
      # @return [Array<String>] the lines
      def table(titles, rows, spare: [])
        head, *lines = Table.new(titles, rows, width: columns, spare: spare).lines { |text, color| paint(text, color) }
        [paint(head, :bold), *lines]
      end

      # Begins a new page with what is said next. Until then the page before stays.
      # @return [void]
      def clear
        @page = CLEAR if terminal?
      end

      private

      def escaped(json)
        json.gsub(OBEYED) { |character| JSON.generate(character, ascii_only: true)[1..-2] }
      end
    end
  end
end

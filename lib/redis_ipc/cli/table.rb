# frozen_string_literal: true

module RedisIPC
  module CLI
    # Lays out rows in columns. What is too wide for a terminal loses its end, the widest column first.
    # @api private
    class Table
      GAP = "  "
      MORE = "…"
      # A column is not cut below this width.
      LEAST = 6
      private_constant :GAP, :MORE, :LEAST

      # A cell and its colour.
      Cell = Struct.new(:text, :color)

      # @param titles [Array<String>] of the columns
      # @param rows [Array<Array>] cells: texts, numbers (aligned right), {Cell}s, nil for what is not known
      # @param width [Integer, nil] of the terminal; nil means any
      def initialize(titles, rows, width: nil)
        @rows = [titles, *rows].map { |row| row.map { |cell| cell_of(cell) } }
        @right = titles.each_index.map { |column| rows.any? && rows.all? { |row| number?(row[column]) } }
        @widths = widths(width)
      end

      # @yieldparam text [String] the text of a cell, laid out
      # @yieldparam color [Symbol, nil]
      # @yieldreturn [String] the coloured text
      # @return [Array<String>] the lines, the titles first
      def lines
        @rows.map do |row|
          cells = row.each_with_index.map do |cell, column|
            text = fit(cell.text, column)
            block_given? ? yield(text, cell.color) : text
          end
          cells.join(GAP).rstrip
        end
      end

      private

      def cell_of(cell)
        return Cell.new(shown(cell.text), cell.color) if cell.is_a?(Cell)

        Cell.new(shown(cell), nil)
      end

      # What comes from Redis may contain control characters, which a terminal would obey.
      def shown(value)
        value.nil? ? "-" : LogText.line(value.to_s)
      end

      def number?(cell)
        cell = cell.text if cell.is_a?(Cell)
        cell.nil? || cell.is_a?(Numeric) || cell.to_s.match?(/\A-?[\d.,]+( ?(s|ms|us|min|h|d|%|B|kB|MB|GB))?\z/)
      end

      def widths(most)
        widths = @rows.transpose.map { |column| column.map { |cell| cell.text.size }.max }
        return widths unless most

        most -= GAP.size * (widths.size - 1)
        while widths.sum > most && widths.max > LEAST
          widest = widths.each_index.max_by { |column| widths[column] }
          widths[widest] -= 1
        end
        widths
      end

      def fit(text, column)
        width = @widths[column]
        text = "#{text[0, width - 1]}#{MORE}" if text.size > width
        @right[column] ? text.rjust(width) : text.ljust(width)
      end
    end
  end
end

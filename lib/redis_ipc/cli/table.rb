# frozen_string_literal: true

module RedisIPC
  module CLI
    # Lays out rows in columns. What is too wide for a terminal loses the columns that matter least, and then the ends
    # of cells, the widest column first.
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
      # @param spare [Array<String>] the titles of columns that may be left out, what matters least first
      def initialize(titles, rows, width: nil, spare: [])
        @right = titles.each_index.map { |column| numbers?(rows, column) }
        @rows = [titles, *rows].map { |row| row.map { |cell| cell_of(cell) } }
        @widths = natural_widths
        fit_into(width, spare) if width
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

      def numbers?(rows, column)
        rows.any? && rows.all? { |row| number?(row[column]) }
      end

      def number?(cell)
        cell = cell.text if cell.is_a?(Cell)
        cell.nil? || cell.is_a?(Numeric) || shown(cell).match?(/\A-?[\d.,]+( ?(s|ms|us|min|h|d|%|B|kB|MB|GB))?\z/)
      end

      def natural_widths
        @rows.transpose.map { |column| column.map { |cell| cell.text.size }.max }
      end

      def too_wide?(most)
        @widths.sum + (GAP.size * (@widths.size - 1)) > most
      end

      def fit_into(width, spare)
        spare.each { |title| leave_out(title) if too_wide?(width) }
        narrow(width)
      end

      def leave_out(title)
        column = @rows.first.index { |cell| cell.text == title } or return
        [@right, @widths, *@rows].each { |row| row.delete_at(column) }
      end

      def narrow(most)
        while too_wide?(most) && @widths.max > LEAST
          widest = @widths.each_index.max_by { |column| @widths[column] }
          @widths[widest] -= 1
        end
      end

      def fit(text, column)
        width = @widths[column]
        text = "#{text[0, width - 1]}#{MORE}" if text.size > width
        @right[column] ? text.rjust(width) : text.ljust(width)
      end
    end
  end
end

# frozen_string_literal: true

module RedisIPC
  class Web
    # A line for each series, over the same range of values.
    # @api private
    class Sparkline
      WIDTH = 120
      HEIGHT = 22
      # How many values fill the width.
      POINTS = 60
      # Where each of them is from the left, as the beginning of a point.
      PLACES = Array.new(POINTS) { |index| "#{(index * WIDTH.fdiv(POINTS - 1)).round(1)},".freeze }.freeze
      # So that a line at the edge is drawn in its full width.
      EDGE = 1.5
      private_constant :WIDTH, :HEIGHT, :POINTS, :PLACES, :EDGE

      # @param series [Hash{String => Array<Numeric>}] the values by CSS class, oldest first
      # @param label [String] what a screen reader says
      def initialize(series, label:)
        @series = series
        @label = label
        @most = [series.values.flatten.max || 0, 1e-9].max
      end

      # @return [Markup]
      def draw
        lines = @series.map { |name, values| line(name, values.last(POINTS)) }
        Svg.image("spark", [WIDTH, HEIGHT], @label, [ground, *lines], preserveAspectRatio: "none")
      end

      private

      # Shows how far ten minutes reach while fewer values are known.
      def ground
        Svg.shape(:line, { class: "axis", x1: 0, x2: WIDTH, y1: height(0), y2: height(0) })
      end

      def line(name, values)
        points = PLACES.last(values.size).zip(values).map { |place, value| place + height(value).to_s }
        Svg.shape(:polyline, { class: name, points: points.join(" ") })
      end

      def height(value)
        (HEIGHT - EDGE - ((HEIGHT - (2 * EDGE)) * value.fdiv(@most))).round(1)
      end
    end
  end
end

# frozen_string_literal: true

module RedisIPC
  class Web
    # The buckets of a histogram on a logarithmic axis, with its percentiles.
    # @api private
    class LatencyChart
      WIDTH = 300
      HEIGHT = 64
      # What the labels of the axis take.
      FOOT = 14
      private_constant :WIDTH, :HEIGHT, :FOOT

      # @param histogram [Admin::Histogram]
      # @param range [Range] seconds; the same for charts that stand side by side
      # @param marks [Hash{Symbol => Float}] seconds by name: p50
      # @param label [String] what a screen reader says
      def initialize(histogram, range:, marks:, label:)
        @buckets = Buckets.new(histogram)
        @axis = LogAxis.new(range, WIDTH)
        @marks = marks
        @label = label
      end

      # @return [Markup]
      def draw
        bars = @buckets.bars(@axis, HEIGHT - FOOT).map { |bar| Svg.shape(:rect, { class: "bucket", **bar }) }
        ticks = @axis.ticks.map { |left, text| Svg.tick(text, left, HEIGHT - 2) }
        Svg.image("histogram", [WIDTH, HEIGHT], @label, [*bars, *ticks, *@marks.map { |mark| mark(*mark) }])
      end

      private

      def mark(name, seconds)
        left = @axis.at(seconds)
        Svg.shape(:line, { class: "mark #{name}", x1: left, x2: left, y1: 0, y2: HEIGHT - FOOT }, [Svg.title(name)])
      end
    end
  end
end

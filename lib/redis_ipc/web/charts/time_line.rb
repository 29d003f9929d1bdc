# frozen_string_literal: true

module RedisIPC
  class Web
    # Spans of time, such as losses. A span of no length is drawn as a moment.
    # @api private
    class TimeLine
      WIDTH = 600
      HEIGHT = 22
      # The least width of a span.
      LEAST = 2
      private_constant :WIDTH, :HEIGHT, :LEAST

      # @param spans [Array<Array(Time, Time, String)>] from, until, and what it was
      # @param range [Range] of Time
      # @param label [String] what a screen reader says
      def initialize(spans, range:, label:)
        @spans = spans
        @range = range
        @scale = WIDTH / [range.end - range.begin, 1].max
        @label = label
      end

      # @return [Markup]
      def draw
        axis = Svg.shape(:line, { class: "axis", x1: 0, x2: WIDTH, y1: HEIGHT - 1, y2: HEIGHT - 1 })
        Svg.image("time-line", [WIDTH, HEIGHT], @label, [axis, *@spans.map { |one| span(*one) }])
      end

      private

      def span(start, finish, text)
        left = ((start - @range.begin) * @scale).clamp(0, WIDTH - LEAST).round(1)
        width = ((finish - start) * @scale).clamp(LEAST, WIDTH - left).round(1)
        Svg.shape(:rect, { class: "loss", x: left, y: 2, width: width, height: HEIGHT - 3, rx: 1 },
                  [Svg.title(text)])
      end
    end
  end
end

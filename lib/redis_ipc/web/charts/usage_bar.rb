# frozen_string_literal: true

module RedisIPC
  class Web
    # How much of something is used.
    # @api private
    class UsageBar
      WIDTH = 48
      HEIGHT = 8
      private_constant :WIDTH, :HEIGHT

      # @param part [Numeric]
      # @param whole [Numeric]
      # @param label [String] what a screen reader says
      def initialize(part, whole, label:)
        @used = whole.positive? ? (WIDTH * part.fdiv(whole).clamp(0, 1)).round(1) : 0
        @label = label
      end

      # @return [Markup]
      def draw
        Svg.image("bar", [WIDTH, HEIGHT], @label, [bar("whole", WIDTH), bar(@used < WIDTH ? "part" : "full", @used)])
      end

      private

      def bar(name, width)
        Svg.shape(:rect, { class: name, width: width, height: HEIGHT, rx: 2 })
      end
    end
  end
end

# frozen_string_literal: true

module RedisIPC
  class Web
    # A logarithmic axis of seconds.
    # @api private
    class LogAxis
      # What a label takes on both sides of its tick, so that the outer ones stay inside.
      MARGIN = 4
      private_constant :MARGIN

      # @return [Range] seconds
      attr_reader :range

      # @param range [Range] seconds, from a power of ten to another
      # @param width [Numeric]
      def initialize(range, width)
        @range = range
        @from = Math.log10(range.begin)
        @scale = (width - (2 * MARGIN)) / [Math.log10(range.end) - @from, 1].max
      end

      # @param seconds [Numeric]
      # @return [Float] how far from the left
      def at(seconds)
        (MARGIN + ((Math.log10(seconds.clamp(@range.begin, @range.end)) - @from) * @scale)).round(1)
      end

      # @return [Array<Array(Float, String)>] a label for each power of ten but the outer ones
      def ticks
        powers = (@from.round + 1)...Math.log10(@range.end).round
        powers.map { |power| [at(10.0**power), Format.duration(10.0**power)] }
      end

      # @param histograms [Array<Admin::Histogram>]
      # @return [Range, nil] powers of ten around all of them; nil if there is nothing in them
      def self.around(histograms)
        filled = histograms.map { |histogram| Buckets.new(histogram) }.reject(&:empty?)
        return if filled.empty?

        from = Math.log10(filled.map(&:from).min).floor
        to = Math.log10(filled.map(&:to).max).ceil
        (10.0**from)..(10.0**[to, from + 2].max)
      end
    end
  end
end

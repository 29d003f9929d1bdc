# frozen_string_literal: true

module RedisIPC
  class Web
    # The buckets of an exponential histogram as bars. Bucket i holds values above base^i, up to base^(i + 1).
    # @api private
    class Buckets
      # The smallest height of a bar: one slow call among a million must be seen.
      LEAST = 1.5
      private_constant :LEAST

      # @param histogram [Admin::Histogram, nil]
      def initialize(histogram)
        facts = histogram.to_h.transform_keys(&:to_sym)
        @base = 2.0**(2.0**-(facts[:scale] || 3))
        @offset = facts[:offset].to_i
        @counts = facts[:buckets] || []
      end

      # @return [Boolean]
      def empty?
        @counts.none?(&:positive?)
      end

      # @return [Float] seconds
      def from
        @base**(@offset + @counts.index(&:positive?))
      end

      # @return [Float] seconds
      def to
        @base**(@offset + @counts.rindex(&:positive?) + 1)
      end

      # @param axis [LogAxis]
      # @param height [Numeric] that of the highest bar
      # @return [Array<Hash>] x, y, width and height
      def bars(axis, height)
        most = @counts.max
        @counts.each_with_index.filter_map do |count, index|
          next unless count.positive?

          left = axis.at(@base**(@offset + index))
          tall = [height * count.fdiv(most), LEAST].max.round(1)
          { x: left, y: (height - tall).round(1), height: tall,
            width: [axis.at(@base**(@offset + index + 1)) - left - 0.3, 0.8].max.round(1) }
        end
      end
    end
  end
end

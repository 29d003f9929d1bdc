# frozen_string_literal: true

module RedisIPC
  class Admin
    # How long things took: an exponential histogram, as OpenTelemetry has it, with eight buckets for each doubling.
    # Those of several instances can be merged, and a percentile of the whole be read from the result: it is off by
    # 4.5 % at most.
    class Histogram < Value
      # The most buckets that are read, the scales, and the powers of two in seconds between which all values are. Any
      # client that may write a record could write others: they would take memory, or be infinite.
      MOST = 1_024
      SCALES = (-10..20)
      POWERS = (-64..64)
      private_constant :MOST, :SCALES, :POWERS

      # @return [Integer] how many values there are
      attr_reader :count
      # @return [Float] the sum of all values in seconds
      attr_reader :sum
      # @return [Float, nil] the least value in seconds
      attr_reader :min
      # @return [Float, nil] the greatest value in seconds
      attr_reader :max
      # @return [Integer] how many values are 0
      attr_reader :zero
      # @return [Integer] each doubling of the value has two to the power of this many buckets
      attr_reader :scale
      # @return [Integer] the index of the first bucket
      attr_reader :offset
      # @return [Array<Integer>] how many values are in each bucket. That of the index i has the values over base**i, up
      #   to base**(i + 1), where base is 2**(2**-scale)
      attr_reader :buckets

      class << self
        # @param histograms [Array<Histogram, nil>]
        # @return [Histogram, nil] all of them in one; nil if there is none
        def merge(histograms)
          histograms = histograms.compact
          return histograms.first if histograms.size < 2

          scale = histograms.map(&:scale).min
          filled = histograms.map { |one| one.scaled(scale) }.reject { |one| one.buckets.empty? }
          totals = %i[count sum zero].to_h { |name| [name, histograms.sum(&name)] }
          new(**totals, **limits(histograms), scale: scale, **added(filled))
        end

        # @param hash [Object] as a record has it
        # @return [Histogram, nil] nil if it is none
        # @api private
        def read(hash)
          return unless hash.is_a?(Hash)

          scale, buckets, offset = hash.values_at("scale", "buckets", "offset")
          return unless SCALES === scale && buckets?(buckets) && bounds?(scale, offset ||= 0, buckets.size)

          new(count: whole(hash["count"]), sum: Numbers.seconds(hash["sum"]) || 0.0, scale: scale, buckets: buckets,
              min: Numbers.seconds(hash["min"]), max: Numbers.seconds(hash["max"]), zero: whole(hash["zero"]),
              offset: offset)
        end

        private

        def buckets?(buckets)
          Numbers.wholes?(buckets) && buckets.size <= MOST && buckets.none?(&:negative?)
        end

        def bounds?(scale, offset, size)
          offset.is_a?(Integer) && [offset, offset + size].all? { |index| POWERS.cover?(index * (2r**-scale)) }
        end

        def limits(histograms)
          { min: histograms.filter_map(&:min).min, max: histograms.filter_map(&:max).max }
        end

        def whole(value)
          [Numbers.whole(value) || 0, 0].max
        end

        def added(histograms)
          first = histograms.map(&:offset).min || 0
          length = (histograms.map { |one| one.offset + one.buckets.size }.max || 0) - first
          sums = Array.new(length, 0)
          histograms.each do |one|
            index = one.offset - first
            one.buckets.each do |count|
              sums[index] += count
              index += 1
            end
          end
          { offset: first, buckets: sums.freeze }
        end
      end

      # @param other [Histogram]
      # @return [Histogram] both in one
      def merge(other)
        self.class.merge([self, other])
      end

      # @param share [Float] such as 0.95
      # @return [Float, nil] the seconds that this share of the values does not exceed; nil without values
      def p(share)
        return if count < 1

        wanted = share * count
        below = zero
        return 0.0 if below >= wanted

        index = buckets.index { |count| (below += count) >= wanted }
        return max unless index

        middle = 2.0**((offset + index + 0.5) * (2.0**-scale))
        [[middle, min || 0.0].max, max || middle].min
      end

      # @return [Float, nil] the mean in seconds; nil without values
      def mean
        sum / count if count.positive?
      end

      # @return [Hash{Symbol => Object}] with `p50`, `p95` and `p99`
      def to_h
        super.merge(mean: mean, p50: p(0.5), p95: p(0.95), p99: p(0.99))
      end

      # @return [Histogram] this one with wider buckets
      # @api private
      def scaled(to)
        return self if to >= scale

        first, wider = widened(scale - to)
        self.class.new(count: count, sum: sum, min: min, max: max, zero: zero, scale: to, offset: first,
                       buckets: wider)
      end

      private

      def widened(shift)
        sums = Hash.new(0)
        buckets.each_with_index { |count, index| sums[(offset + index) >> shift] += count }
        first, last = sums.keys.minmax
        [first || 0, first ? (first..last).map { |index| sums[index] }.freeze : [].freeze]
      end
    end
  end
end

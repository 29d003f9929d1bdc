# frozen_string_literal: true

module RedisIPC
  module Metrics
    # How long things took. It is read from the core's exponential histogram, and written with Prometheus's classic
    # buckets: each bound is twice the one before, and is one of the core's bounds, too, so no count is estimated. It is
    # frozen.
    class Distribution
      # The core has so many buckets for each doubling (scale 3).
      STEPS = 8
      # The bounds are the powers of two with these exponents: 15 us to 256 s.
      EXPONENTS = (-16..8)
      private_constant :STEPS, :EXPONENTS

      # @return [Float] seconds in all
      attr_reader :sum
      # @return [Integer] how many values there are
      attr_reader :count

      # @param told [Hash{String => Object}] the histogram as the core tells it
      # @return [Distribution]
      # @api private
      def self.read(told)
        zero, offset, buckets, sum, count = told.values_at("zero", "offset", "buckets", "sum", "count")
        new(zero, buckets.each_with_index.to_h { |number, index| [offset + index, number] }, sum, count)
      end

      # @api private
      def initialize(zero, counts, sum, count)
        @zero = zero
        @counts = counts.freeze
        @sum = sum
        @count = count
        freeze
      end

      # @param other [Distribution]
      # @return [Distribution] both together
      # @api private
      def +(other)
        self.class.new(zero + other.zero, counts.merge(other.counts) { |_, one, two| one + two }, sum + other.sum,
                       count + other.count)
      end

      # @return [Array<Array(Float, Integer)>] bounds in seconds, and how many values are at most that large. The last
      #   bound is infinite
      def buckets
        sorted = counts.sort
        seen = zero
        bounded = EXPONENTS.map do |exponent|
          seen += sorted.shift.last while sorted.any? && sorted.first.first < exponent * STEPS
          [2.0**exponent, seen]
        end
        bounded << [Float::INFINITY, count]
      end

      # @return [String]
      def inspect
        "#<#{self.class} of #{count}>"
      end

      protected

      attr_reader :zero, :counts
    end
  end
end

# frozen_string_literal: true

require_relative "outcome"

module Chaos
  module Live
    # The result of one fault that happened several times.
    class Row
      # How many may be told for one that is missing, in half of the times.
      MEDIAN = 2.0

      attr_reader :fault

      # @param outcomes [Array<Outcome>]
      # @param within [Float, nil] the seconds in which service must be back, in place of the fault's
      def initialize(fault, outcomes, within: nil)
        @fault = fault
        @outcomes = outcomes
        @within = within || fault.within
      end

      def run?
        true
      end

      # Returns the broken promises in words.
      def failures
        [*@outcomes.filter_map(&:untruth), *excess, *boundless, *loose, *unbroken, *late, *silent, *wrong]
      end

      # Returns the figures by name, in the order of the table.
      def figures
        ratios = self.ratios
        { times: @outcomes.size, missing: @outcomes.sum(&:missing), told: @outcomes.sum(&:told),
          unbounded: @outcomes.count { |outcome| !outcome.bounded? }, median: two_digits(median(ratios)),
          worst: two_digits(ratios.max), back_ms: ms(:back), gap_ms: (ms(:gap) if fault.gap) }
          .transform_values { |value| value || "-" }
      end

      private

      def ratios
        @outcomes.filter_map(&:ratio).sort
      end

      def median(sorted)
        sorted[(sorted.size - 1) / 2]
      end

      def two_digits(value)
        value && format("%.2f", value)
      end

      def ms(name)
        worst(name)&.then { |seconds| (seconds * 1000).round }
      end

      def worst(name)
        @outcomes.filter_map(&name).max
      end

      # Where nothing can be missing, nothing may be told.
      def excess
        told = @outcomes.reject { |outcome| outcome.bounds.empty? }
        told = told.select { |outcome| fault.lossless || (outcome.calm && fault.counted) }
        told.map { |outcome| "nothing could be missing, told were #{outcome.bounds.map { |bound| bound || "?" }}" }
      end

      def boundless
        count = @outcomes.count { |outcome| !outcome.bounded? }
        ["#{count} times told without a bound"] if fault.counted && count.positive?
      end

      def loose
        value = median(ratios)
        ["told #{two_digits(value)} for one that was missing (median)"] if fault.counted && value && value > MEDIAN
      end

      # A fault that does not do what it says proves nothing.
      def unbroken
        count = @outcomes.count { |outcome| outcome.reconnections.zero? }
        ["#{count} times it broke no connection"] if fault.breaks && count.positive?
      end

      def late
        ["back after #{ms(:back)} ms"] if worst(:back)&.> @within
      end

      def silent
        ["no message for #{ms(:gap)} ms"] if fault.gap && worst(:gap)&.>(fault.gap)
      end

      def wrong
        repeated = { "out of order" => :disorder, "handled again" => :again } unless fault.again
        { "missing at another time than was told" => :outside, **repeated.to_h }.filter_map do |what, name|
          count = @outcomes.sum(&name)
          "#{count} #{what}" if count.positive?
        end
      end
    end
  end
end

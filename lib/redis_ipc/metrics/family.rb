# frozen_string_literal: true

module RedisIPC
  module Metrics
    # A family is a metric with all its samples. It is frozen.
    class Family
      # A sample is the value for one set of labels. It is frozen.
      class Sample
        # @return [Hash{Symbol => String}]
        attr_reader :labels
        # @return [Integer, Float, Distribution] a {Distribution} in a family of histograms
        attr_reader :value

        # @api private
        def initialize(labels, value)
          @labels = labels
          @value = value
          freeze
        end
      end

      # @return [String] without the suffixes of samples (`_total`, `_bucket`)
      attr_reader :name
      # @return [Symbol] `:counter`, `:gauge` or `:histogram`
      attr_reader :type
      # @return [String] what it counts or measures
      attr_reader :help
      # @return [Array<Sample>]
      attr_reader :samples

      # @api private
      def initialize(name, type, help, samples)
        @name = name
        @type = type
        @help = help
        @samples = samples.freeze
        freeze
      end

      # @return [String, nil] the unit, which is the end of the name, too
      def unit
        "seconds" if name.end_with?("_seconds")
      end

      # @return [String]
      def inspect
        "#<#{self.class} #{name} #{type}, #{samples.size} samples>"
      end
    end
  end
end

# frozen_string_literal: true

module RedisIPC
  module Metrics
    # Writes families in Prometheus's text format, or in that of OpenMetrics.
    # @api private
    class Text
      ESCAPES = { "\\" => "\\\\", "\n" => "\\n", "\"" => "\\\"" }.freeze
      private_constant :ESCAPES

      class << self
        # @param accept [String, nil] an `Accept` header
        # @return [Text] the format that it prefers; Prometheus's, unless OpenMetrics is asked for
        def preferred(accept)
          weights = weights_of(accept.to_s)
          open = weights["application/openmetrics-text"]
          open.positive? && open >= weights["text/plain"] ? OPEN_METRICS : PROMETHEUS
        end

        private

        # @return [Hash{String => Float}] how much each named type is wanted; 0 for other types
        def weights_of(accept)
          weights = Hash.new(0.0)
          accept.split(",").each do |range|
            type, *parameters = range.split(";").map(&:strip)
            weight = parameters.grep(/\Aq=/i).first
            weights[type.to_s.downcase] = weight ? weight[2..].to_f : 1.0
          end
          weights
        end
      end

      # @return [String]
      attr_reader :content_type

      # @param content_type [String]
      # @param open [Boolean] whether it is OpenMetrics
      def initialize(content_type, open:)
        @content_type = content_type
        @open = open
        freeze
      end

      # @param families [Array<Family>]
      # @return [String]
      def write(families)
        families.map { |family| head(family) + lines(family) }.push(@open ? ["# EOF"] : []).flatten.join("\n") << "\n"
      end

      private

      def head(family)
        # Prometheus calls a counter by the name of its samples.
        name = family.type == :counter && !@open ? "#{family.name}_total" : family.name
        unit = "# UNIT #{name} #{family.unit}" if @open && family.unit
        ["# HELP #{name} #{escaped(family.help)}.", "# TYPE #{name} #{family.type}", *unit]
      end

      def lines(family)
        return family.samples.flat_map { |sample| distribution(family.name, sample) } if family.type == :histogram

        name = family.type == :counter ? "#{family.name}_total" : family.name
        family.samples.map { |sample| line(name, sample.labels, sample.value) }
      end

      def distribution(name, sample)
        labels = sample.labels
        all = sample.value
        buckets = all.buckets.map { |bound, count| line("#{name}_bucket", { **labels, le: bound(bound) }, count) }
        [*buckets, line("#{name}_sum", labels, all.sum), line("#{name}_count", labels, all.count)]
      end

      def bound(seconds)
        seconds.infinite? ? "+Inf" : seconds
      end

      # A label without a value is the same as none.
      def line(name, labels, value)
        shown = labels.reject { |_, text| text.to_s.empty? }.map { |label, text| "#{label}=\"#{escaped(text)}\"" }
        "#{name}#{"{#{shown.join(",")}}" unless shown.empty?} #{value}"
      end

      def escaped(text)
        text.to_s.dup.force_encoding(Encoding::UTF_8).scrub.gsub(/[\\\n"]/, ESCAPES)
      end

      PROMETHEUS = new("text/plain; version=0.0.4; charset=utf-8", open: false)
      OPEN_METRICS = new("application/openmetrics-text; version=1.0.0; charset=utf-8", open: true)
    end
  end
end

# frozen_string_literal: true

module Bench
  # Compares a run with the recorded one by ratios within each run, so that another machine may be slower.
  class Check
    # How much worse a ratio may be: by a third.
    TOLERANCE = 1.5

    # The figures of one target, recorded and now.
    Finding = Struct.new(:target, :before, :now) do
      def fallen?
        # The figure is too small to judge, such as the CPU time of an idle process.
        return false if before.zero? || (target.bound == :most && now <= target.limit)

        target.worsening(now, before) > TOLERANCE
      end

      def to_s
        format("%<verdict>-6s %<measure>s: %<now>.2f%<unit>s, recorded %<before>.2f%<unit>s",
               verdict: fallen? ? "FALLEN" : "ok", measure: target.measure, now: now, before: before, unit: target.unit)
      end
    end

    # @param targets [Array<Target>]
    # @param recorded [Measurements]
    # @param measured [Measurements]
    def initialize(targets, recorded, measured)
      both = [recorded, measured].map { |measurements| Figures.new(measurements) }
      @findings = targets.filter_map do |target|
        values = both.map { |figures| target.figure.call(figures) }
        Finding.new(target, *values) if values.all?
      end
    end

    attr_reader :findings

    def passed?
      findings.any? && findings.none?(&:fallen?)
    end
  end
end

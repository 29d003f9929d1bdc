# frozen_string_literal: true

module RedisIPC
  class Admin
    # Decides what is wrong, and what to do about it.
    # @api private
    class Findings
      # @param overview [Overview] without findings
      # @return [Array<Finding>] the worst first
      def self.of(overview)
        [NodeFindings, GroupFindings].flat_map { |rules| rules.new(overview).all }
                                     .sort_by.with_index { |finding, index| [finding.rank, index] }.freeze
      end

      # @param overview [Overview]
      def initialize(overview)
        @overview = overview
      end

      # @return [Array<Finding>]
      def all
        @found = []
        look
        @found
      end

      private

      def error(kind, subject, text, advice)
        add(:error, kind, subject, text, advice)
      end

      def warning(kind, subject, text, advice)
        add(:warning, kind, subject, text, advice)
      end

      def info(kind, subject, text, advice)
        add(:info, kind, subject, text, advice)
      end

      def add(level, kind, subject, text, advice)
        @found << Finding.new(level: level, kind: kind, subject: LogText.line(subject), text: LogText.line(text),
                              advice: advice)
      end

      def count(number, what)
        "#{number} #{what}#{"s" unless number == 1}"
      end

      def seconds(time)
        return format("%.0f ms", time * 1_000) if time < 1

        time < 120 ? format("%.1f s", time) : format("%d min", time / 60)
      end
    end
    private_constant :Findings
  end
end

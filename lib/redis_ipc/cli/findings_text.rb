# frozen_string_literal: true

module RedisIPC
  module CLI
    # Findings as people read them: what is wrong, and below it what to do.
    # @api private
    module FindingsText
      COLORS = { error: :red, warning: :yellow, info: :blue }.freeze
      # The width of the longest level.
      LEVEL = 9
      private_constant :COLORS, :LEVEL

      class << self
        # @param findings [Array<Admin::Finding>]
        # @param terminal [Terminal]
        # @return [Array<String>]
        def lines(findings, terminal)
          findings.flat_map do |finding|
            level = terminal.paint(finding.level.to_s.ljust(LEVEL), COLORS[finding.level])
            first, *rest = terminal.wrap("#{finding.subject}: #{finding.text}", margin: LEVEL)
            advice = terminal.wrap(finding.advice.to_s, margin: LEVEL).reject(&:empty?)
            advice = advice.map { |line| terminal.paint(line, :gray) }
            ["#{level}#{first}", *[*rest, *advice].map { |line| "#{" " * LEVEL}#{line}" }]
          end
        end
      end
    end
  end
end

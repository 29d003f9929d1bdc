# frozen_string_literal: true

module Bench
  # Makes the tables in Markdown.
  class Tables
    # @param suite [Suite]
    # @param measurements [Measurements]
    def initialize(suite, measurements)
      @suite = suite
      @measurements = measurements
    end

    def targets
      figures = Figures.new(@measurements)
      rows = @suite.targets.filter_map do |target|
        value = target.figure.call(figures) or next
        verdict = target.reached?(value) ? "yes" : "**no**"
        [target.measure, target.wording, "#{round(value)}#{target.unit}", verdict]
      end
      table(%w[measure target measured reached], rows)
    end

    def cases
      @suite.cases.group_by(&:family).values.filter_map { |family| of_family(family) }.join("\n")
    end

    def surroundings
      table(%w[what on], @measurements.surroundings.to_a)
    end

    private

    # Returns a table for each case that has a line for each peer; or one for all cases of a family that have one peer.
    def of_family(family)
      measured = family.select { |one| @measurements.cases.include?(one.name) }
      return if measured.empty?

      if family.size == 1 || family.any? { |one| one.peers.size > 1 }
        return measured.map { |one| "### #{one.title}\n\n#{of_case(one)}" }.join("\n")
      end

      subjects = measured.map { |one| [one.title, one.name, one.peers.first] }
      "### #{measured.first.family.capitalize}\n\n#{lines(subjects, "case")}"
    end

    def of_case(one)
      absent = @suite.compared.call(one) - @measurements.peers(one.name)
      text = lines(@measurements.peers(one.name).map { |peer| [@suite.peers.fetch(peer), one.name, peer] }, "")
      absent.empty? ? text : "#{text}\nn/a: #{absent.map { |peer| @suite.peers.fetch(peer) }.join("; ")}\n"
    end

    def lines(subjects, heading)
      columns = @suite.columns.select do |_, metric|
        subjects.any? { |_, name, peer| @measurements.median(name, peer, metric) }
      end
      rows = subjects.map { |title, name, peer| [title, *columns.values.map { |metric| cell(name, peer, metric) }] }
      table([heading, *columns.keys], rows)
    end

    def cell(name, peer, metric)
      values = @measurements.values(name, peer, metric)
      return "n/a" if values.empty?

      median = round(@measurements.median(name, peer, metric))
      return median unless @suite.spread.include?(metric) && values.size > 1

      "#{median} (#{round(values.first)}-#{round(values.last)})"
    end

    def round(value)
      digits = [0, 2 - Math.log10([value.abs, 0.01].max).floor].max
      value.abs >= 1000 ? value.round.to_s.gsub(/(\d)(?=(\d{3})+$)/, '\1,') : format("%.#{[digits, 2].min}f", value)
    end

    def table(heading, rows)
      [heading, heading.map { "---" }, *rows].map { |row| "| #{row.join(" | ")} |\n" }.join
    end
  end
end

# frozen_string_literal: true

module Bench
  # Makes the tables in Markdown.
  class Tables
    # The metrics of some cases, by their heading.
    COLUMNS = { "p50 us" => :p50_us, "p95 us" => :p95_us, "p99 us" => :p99_us, "calls/s" => :calls_s,
                "requests/s" => :requests_s,
                "commands/call" => :commands, "CPU us/call: asker" => :asker_cpu_us, "answerer" => :answerer_cpu_us,
                "Redis" => :redis_cpu_us, "require ms" => :require_ms, "connect ms" => :connect_ms,
                "connect ms (answering)" => :answerer_connect_ms, "commands/s" => :commands_s, "CPU %" => :cpu_percent,
                "MiB over bare Ruby" => :rss_mib }.freeze
    # The metrics of which the least and the most are shown too.
    SPREAD = %i[p50_us calls_s requests_s connect_ms].freeze

    def initialize(measurements)
      @measurements = measurements
    end

    def targets
      figures = Figures.new(@measurements)
      rows = TARGETS.filter_map do |target|
        value = target.figure.call(figures) or next
        verdict = target.reached?(value) ? "yes" : "**no**"
        [target.measure, target.wording, "#{round(value)}#{target.unit}", verdict]
      end
      table(%w[measure target measured reached], rows)
    end

    def cases
      Cases.all.group_by(&:family).values.filter_map { |family| of_family(family) }.join("\n")
    end

    def surroundings
      table(%w[what on], @measurements.surroundings.to_a)
    end

    private

    # Returns one line for each peer if a family has one case, else one line for each case.
    def of_family(family)
      measured = family.select { |one| @measurements.cases.include?(one.name) }
      return if measured.empty?
      return "### #{measured.first.title}\n\n#{of_case(measured.first)}" if family.size == 1

      "### #{measured.first.family.capitalize}\n\n#{lines(measured.map { |one| [one.title, one.name, "gem"] }, "case")}"
    end

    def of_case(one)
      absent = Cases.compared(one) - @measurements.peers(one.name)
      text = lines(@measurements.peers(one.name).map { |peer| [Cases::PEERS.fetch(peer), one.name, peer] }, "")
      absent.empty? ? text : "#{text}\nn/a: #{absent.map { |peer| Cases::PEERS.fetch(peer) }.join("; ")}\n"
    end

    def lines(subjects, heading)
      columns = COLUMNS.select do |_, metric|
        subjects.any? { |_, name, peer| @measurements.median(name, peer, metric) }
      end
      rows = subjects.map { |title, name, peer| [title, *columns.values.map { |metric| cell(name, peer, metric) }] }
      table([heading, *columns.keys], rows)
    end

    def cell(name, peer, metric)
      values = @measurements.values(name, peer, metric)
      return "n/a" if values.empty?

      median = round(@measurements.median(name, peer, metric))
      return median unless SPREAD.include?(metric) && values.size > 1

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

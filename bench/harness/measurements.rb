# frozen_string_literal: true

require "csv"

module Bench
  # All figures as rows of case, peer, round, metric and value. The surroundings are a case of their own.
  class Measurements
    HEADER = %w[case peer round metric value].freeze
    SURROUNDINGS = "surroundings"

    attr_reader :rows

    def self.read(path)
      new(CSV.read(path, headers: true).map { |row| row.fields(*HEADER) })
    end

    def initialize(rows = [])
      @rows = rows
    end

    def add(name, peer, round, figures)
      figures.each { |metric, value| @rows << [name, peer, round.to_s, metric.to_s, tidy(value)] }
    end

    def write(path)
      CSV.open(path, "w") { |csv| [HEADER, *@rows].each { |row| csv << row } }
    end

    # Returns all values of a metric, sorted.
    def values(name, peer, metric)
      index.fetch([name, peer, metric.to_s], []).map { |value| Float(value) }.sort
    end

    # Returns the median, or nil if it was not measured.
    def median(name, peer, metric)
      sorted = values(name, peer, metric)
      return if sorted.empty?

      (sorted[(sorted.size - 1) / 2] + sorted[sorted.size / 2]) / 2.0
    end

    def peers(name)
      index.keys.filter_map { |(one, peer, _)| peer if one == name }.uniq
    end

    def cases
      index.keys.map(&:first).uniq - [SURROUNDINGS]
    end

    # Returns the measurements of some peers only.
    def of(peers)
      Measurements.new(@rows.select { |row| peers.include?(row[1]) })
    end

    # Returns the surroundings of the run by name.
    def surroundings
      @rows.select { |row| row.first == SURROUNDINGS }.to_h { |row| row.last(2) }
    end

    private

    def index
      return @index if @indexed == @rows.size

      @indexed = @rows.size
      @index = @rows.group_by { |name, peer, _, metric, _| [name, peer, metric] }
                    .transform_values { |rows| rows.map(&:last) }
    end

    def tidy(value)
      value.is_a?(Float) ? value.round(4).to_s : value.to_s
    end
  end
end

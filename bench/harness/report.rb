# frozen_string_literal: true

module Bench
  # Puts the tables between their marks in bench/RESULTS.md. The text around them stays.
  class Report
    # @param suite [Suite]
    # @param measurements [Measurements]
    def initialize(suite, measurements)
      @suite = suite
      @tables = Tables.new(suite, measurements)
    end

    def update(path)
      text = File.read(path)
      { "surroundings" => @tables.surroundings, "targets" => @tables.targets, "cases" => @tables.cases }
        .each { |name, table| text = replace(text, name, table) }
      File.write(path, text)
    end

    private

    def replace(text, name, table)
      name = "#{@suite.mark}#{name}"
      marks = /(<!-- #{name} -->\n).*?(<!-- end -->)/m
      raise "no marks for #{name}" unless text.match?(marks)

      text.sub(marks) { "#{Regexp.last_match(1)}\n#{table}\n#{Regexp.last_match(2)}" }
    end
  end
end

# frozen_string_literal: true

require "optparse"
require_relative "chaos"
require_relative "report"

# The command: runs faults, and prints a row for each.
class ChaosCommand
  def initialize(arguments)
    @only = []
    @within = 1.0
    @only.concat(parser.parse(arguments))
  end

  # @return [Boolean] whether every promise held
  def run
    return faults.each { |fault| puts "#{fault.name}#{" (quick)" if fault.quick}" } if @list
    return warn("no such fault; see --list") if faults.empty?

    rows.all? { |row| row.failures.empty? && (row.run? || @allow_skips) }
  end

  private

  def rows
    report = Chaos::Report.new
    report.introduce(@within)
    rows = faults.map do |fault|
      Chaos::Table.run(fault, within: @within, settle: @seconds).tap { |row| report.show(row) }
    end
    report.conclude(rows)
    rows
  end

  def faults
    @faults ||= Chaos::Table.faults.select do |fault|
      (@only.empty? || @only.any? { |name| fault.name.include?(name) }) && (fault.quick || !@quick)
    end
  end

  def parser
    OptionParser.new do |options|
      options.banner = "Usage: bin/chaos [options] [part of a fault's name ...]"
      options.on("--only NAME", "the same as NAME alone") { |name| @only << name }
      options.on("--quick", "only what bin/test runs, too") { @quick = true }
      options.on("--list", "the names of the faults") { @list = true }
      options.on("--seconds N", Float, "how long the load goes on after a fault") { |seconds| @seconds = seconds }
      options.on("--within N", Float, "seconds until service must be back (1)") { |seconds| @within = seconds }
      options.on("--allow-skips", "a fault that cannot happen here is no failure") { @allow_skips = true }
    end
  end
end

exit(ChaosCommand.new(ARGV).run ? 0 : 1) if $PROGRAM_NAME == __FILE__

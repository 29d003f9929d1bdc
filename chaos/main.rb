# frozen_string_literal: true

require "optparse"
require_relative "chaos"
require_relative "report"
require_relative "events/report"
require_relative "live/report"
require_relative "wal/report"

# The command: runs faults, and prints a row for each.
class ChaosCommand
  # The tables of faults, with how their rows are shown.
  TABLES = { Chaos::Table => Chaos::Report, Chaos::Events::Table => Chaos::Events::Report,
             Chaos::Live::Table => Chaos::Live::Report, Chaos::Wal::Table => Chaos::Wal::Report }.freeze

  def initialize(arguments)
    @only = []
    @seed = Random.new_seed % 100_000
    @only.concat(parser.parse(arguments))
  end

  # @return [Boolean] whether every promise held
  def run
    return faults.each_value { |list| list.each { |fault| name(fault) } } if @list
    return warn("no such fault; see --list") if faults.empty?

    rows.all? { |row| row.failures.empty? && (row.run? || @allow_skips) }
  end

  private

  def name(fault)
    puts "#{fault.name}#{" (quick)" if fault.quick}"
  end

  def rows
    rows = @random ? storm : faults.flat_map { |table, list| rows_of(table, TABLES.fetch(table).new, list) }
    Chaos::Report.conclude(rows)
    rows
  end

  def rows_of(table, report, list)
    settings = { within: @within, settle: @seconds }.compact
    report.introduce(@within || table::WITHIN)
    list.map { |fault| table.run(fault, **settings).tap { |row| report.show(row) } }
  end

  # Runs faults of subscriptions at random.
  def storm
    require_relative "live/storm"
    faults = Chaos::Live::Table.faults.select { |fault| fault.random && meant?(fault) }
    puts "#{@random} faults, seed #{@seed}"
    done = 0
    rows = Chaos::Live::Storm.new(faults, count: @random, seed: @seed).run do |name|
      warn "#{done += 1}/#{@random} #{name}"
    end
    report = Chaos::Live::Report.new
    report.introduce(@within)
    rows.each { |row| report.show(row) }
  end

  # Returns the faults to be run, by their table.
  def faults
    @faults ||= TABLES.keys.to_h { |table| [table, table.faults.select { |fault| meant?(fault) }] }
                      .reject { |_, list| list.empty? }
  end

  def meant?(fault)
    (@only.empty? || @only.any? { |name| fault.name.include?(name) }) && (fault.quick || !@quick)
  end

  def parser
    OptionParser.new do |options|
      options.banner = "Usage: bin/chaos [options] [part of a fault's name ...]"
      options.on("--only NAME", "the same as NAME alone") { |name| @only << name }
      options.on("--quick", "only what bin/test runs, too") { @quick = true }
      options.on("--list", "the names of the faults") { @list = true }
      options.on("--seconds N", Float, "how long the load goes on after a fault") { |seconds| @seconds = seconds }
      options.on("--within N", Float, "seconds until service must be back (1; of subscriptions 0.5)") do |seconds|
        @within = seconds
      end
      options.on("--random N", Integer, "N faults of subscriptions, at random") { |count| @random = count }
      options.on("--seed N", Integer, "repeats what happened at random") { |seed| @seed = seed }
      options.on("--allow-skips", "a fault that cannot happen here is no failure") { @allow_skips = true }
    end
  end
end

exit(ChaosCommand.new(ARGV).run ? 0 : 1) if $PROGRAM_NAME == __FILE__

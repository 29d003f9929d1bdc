# frozen_string_literal: true

require "optparse"
require_relative "chaos"

# The command: runs faults and prints a row for each.
class ChaosCommand
  HEADER = format("%-38s %7s %7s %5s %6s %6s %4s %4s %5s %5s %5s %5s %6s %9s", "fault", "calls", "answer.", "rej.",
                  "t.out", "failed", "dead", "died", "lost", "mixed", "twice", "rerun", "late", "back, ms")

  def initialize(arguments)
    @only = []
    @within = 1.0
    parser.parse!(arguments)
    @faults = Chaos::Table.faults
    @faults = @faults.select { |fault| @only.any? { |name| fault.name.include?(name) } } if @only.any?
    @faults = @faults.select(&:quick) if @quick
  end

  # @return [Boolean] whether all is as promised
  def run
    return @faults.each { |fault| puts "#{fault.name}#{" (quick)" if fault.quick}" } if @list
    return warn("no such fault; see --list") if @faults.empty?

    introduce
    rows = @faults.map { |fault| Chaos::Table.run(fault, within: @within, settle: @seconds).tap { |row| show(row) } }
    conclude(rows)
  end

  private

  def parser
    OptionParser.new do |options|
      options.banner = "Usage: bin/chaos [options]"
      options.on("--only NAME", "faults with NAME in their name; may be repeated") { |name| @only << name }
      options.on("--quick", "what bin/test runs") { @quick = true }
      options.on("--list", "the names of the faults") { @list = true }
      options.on("--seconds N", Float, "how long the load goes on after the fault") { |seconds| @seconds = seconds }
      options.on("--within N", Float, "seconds until service must be back (1)") { |seconds| @within = seconds }
      options.on("--allow-skips", "a fault that cannot happen here is no failure") { @allow_skips = true }
    end
  end

  def introduce
    scene = Chaos::Scene
    puts "Load: #{scene::ASKERS} asking processes, each with #{scene::THREADS} threads that ask in turn and 100 " \
         "calls/s besides, whatever comes;"
    puts "#{scene::ANSWERERS} answering processes with 3 consumers each. Target: back within #{@within} s."
    puts "late: calls not answered though asked after that. rerun: handler runs beyond once a request. died: " \
         "open calls of askers that were killed."
    puts "", HEADER
  end

  def show(row)
    return puts(format("%-38s NOT RUN: %s", row.fault.name, row.reason)) unless row.run?

    puts line(row)
    puts "    saw: #{row.seen.empty? ? "nothing" : row.seen.join("; ")}"
    puts "    connected?: #{row.connected}; #{cost(row)}"
    row.told.each { |name, (count, first)| puts "    told: #{count} x #{name}, first: #{first[0, 230]}" }
    puts "    tolerated: #{row.fault.tolerated}" if row.fault.tolerated
    row.failures.each { |failure| puts "    FAILED: #{failure}" }
    $stdout.flush
  end

  def line(row)
    figures = row.figures
    format("%-38s %7d %7d %5d %6d %6d %4d %4d %5d %5d %5d %5d %6d %9s", row.fault.name,
           *figures.values_at(:calls, :answered, :rejected, :timed_out, :failed, :dead, :died_with_asker, :lost,
                              :mixed_up, :twice, :reruns, :failed_after), figures[:recovered_ms] || "never")
  end

  def cost(row)
    calm, storm = row.load.values_at(:calm, :storm).map do |load|
      "#{(load[:cpu] * 100).round} % of a core, #{load[:commands]&.round || "?"} commands/s"
    end
    "busiest process and server before: #{calm}; in the #{format("%.1f", row.outage_seconds)} s of the fault: #{storm}"
  end

  def conclude(rows)
    failed = rows.select { |row| row.failures.any? }
    skipped = rows.reject(&:run?)
    puts "", "#{rows.size} faults, #{failed.size} failed, #{skipped.size} not run"
    (failed + skipped).each { |row| puts "  #{row.run? ? "failed" : "not run"}: #{row.fault.name}" }
    failed.empty? && (skipped.empty? || @allow_skips)
  end
end

exit(ChaosCommand.new(ARGV).run ? 0 : 1) if $PROGRAM_NAME == __FILE__

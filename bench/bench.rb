# frozen_string_literal: true

# bin/bench: see its --help, and those of `bin/bench events`, `bin/bench live` and `bin/bench wal`.

Encoding.default_external = Encoding::UTF_8

require "fileutils"
require_relative "settings"
%w[suite cases options redis_server backlog call_backlog player world special measurements targets calls event_cases
   event_world event_player latency event_targets events live_cases live wal_world wal_player wal_latency wal runner
   check tables report chart surroundings]
  .each { |name| require_relative "harness/#{name}" }

# Measures redis_ipc and other ways for two Ruby processes to talk.
module Bench
  RESULTS = File.expand_path("results", __dir__)
  SCRATCH = File.expand_path("../tmp/bench", __dir__)
  PAGE = File.expand_path("RESULTS.md", __dir__)
  # The suites that are named on the command line; without a name it is that of calls.
  SUITES = { "events" => Events::SUITE, "live" => Live::SUITE, "wal" => Wal::SUITE }.freeze

  class << self
    # @return [Boolean] whether the action succeeded
    def run(arguments)
      suite = SUITES[arguments.first]
      arguments = arguments.drop(1) if suite
      run = Run.new(suite || Calls::SUITE, arguments)
      run.public_send(run.action)
    rescue OptionParser::ParseError, ArgumentError => e
      warn e.message
      false
    end
  end

  # One run of bin/bench.
  class Run
    # @param suite [Suite]
    # @param arguments [Array<String>]
    def initialize(suite, arguments)
      @suite = suite
      @options = Options.new(suite, arguments)
    end

    # @return [Symbol] the method to call
    def action
      @options.action
    end

    def list
      cases = @suite.cases
      width = cases.map { |one| one.name.size }.max
      cases.each { |one| puts "#{one.name.ljust(width)}  #{one.title}  [#{one.peers.join(", ")}]" }
      puts "", "Peers:"
      @suite.peers.each { |peer, title| puts "#{peer.ljust(width)}  #{title}" }
      true
    end

    def measure
      tables = Tables.new(@suite, take(@suite.selected(@options.only), @suite.usable(@options.peers)))
      puts tables.surroundings, "", tables.cases, "", tables.targets
      true
    end

    def report
      Report.new(@suite, recorded).update(PAGE)
      true
    end

    def check
      peers = @suite.usable(@options.peers)
      cases = @suite.selected(@options.only).select { |one| @suite.checked.include?(one.name) }
      # The best peer must be the best of the peers that were measured now.
      before = recorded.of(peers)
      measured = take(cases, peers)
      check = Check.new(@suite.targets, before, measured)
      puts check.findings, "", Tables.new(@suite, measured).targets
      check.passed?
    end

    private

    def recorded
      path = "#{@suite.record}.csv"
      return Measurements.read(path) if File.exist?(path)

      raise ArgumentError, "there is no recorded run (bench/results/#{@suite.name}.csv): run #{@suite.command} first"
    end

    def take(cases, peers)
      measurements = Measurements.new
      measurements.add(Measurements::SURROUNDINGS, "", 0, Surroundings.all)
      begin
        Runner.new(@suite, @options, cases, peers, measurements).run
      ensure
        # The results of an interrupted run are kept.
        keep(measurements, @options.output) if measurements.cases.any?
      end
      measurements
    end

    def keep(measurements, path)
      FileUtils.mkdir_p(File.dirname(path))
      measurements.write("#{path}.csv")
      Chart.new(@suite, measurements).write("#{path}.svg")
      warn "Written: #{path}.csv, #{path}.svg"
    end
  end
end

exit Bench.run(ARGV) if $PROGRAM_NAME == __FILE__

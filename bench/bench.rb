# frozen_string_literal: true

# bin/bench: see its --help.

Encoding.default_external = Encoding::UTF_8

require "fileutils"
require_relative "settings"
%w[cases options redis_server backlog call_backlog player world special measurements runner targets check tables report
   chart surroundings].each { |name| require_relative "harness/#{name}" }

# Measures redis_ipc and other ways for two Ruby processes to talk.
module Bench
  RESULTS = File.expand_path("results", __dir__)
  SCRATCH = File.expand_path("../tmp/bench", __dir__)
  RECORDED = File.join(RESULTS, "latest.csv")
  PAGE = File.expand_path("RESULTS.md", __dir__)

  class << self
    # @return [Boolean] whether the action succeeded
    def run(arguments)
      options = Options.new(arguments)
      public_send(options.action, options)
    rescue OptionParser::ParseError, ArgumentError => e
      warn e.message
      false
    end

    def list(_options)
      width = Cases.all.map { |one| one.name.size }.max
      Cases.all.each { |one| puts "#{one.name.ljust(width)}  #{one.title}  [#{one.peers.join(", ")}]" }
      puts "", "Peers:"
      Cases::PEERS.each { |peer, title| puts "#{peer.ljust(width)}  #{title}" }
      true
    end

    def measure(options)
      measurements = take(options, Cases.selected(options.only), usable(options.peers))
      tables = Tables.new(measurements)
      puts tables.surroundings, "", tables.cases, "", tables.targets
      true
    end

    def report(_options)
      Report.new(recorded).update(PAGE)
      true
    end

    def check(options)
      peers = usable(options.peers)
      cases = Cases.selected(options.only).select { |one| checked.include?(one.name) }
      # The best peer must be the best of the peers that were measured now.
      check = Check.new(recorded.of(peers), take(options, cases, peers))
      puts check.findings
      check.passed?
    end

    private

    def recorded
      return Measurements.read(RECORDED) if File.exist?(RECORDED)

      raise ArgumentError, "there is no recorded run (bench/results/latest.csv): run bin/bench first"
    end

    # Returns the cases that the targets compare.
    def checked
      %w[lone threads_16 threads_64 async_1000 content_16k groups_2 groups_64 waiting_0 waiting_100000 instances_1
         instances_8 idle]
    end

    def take(options, cases, peers)
      measurements = Measurements.new
      measurements.add(Measurements::SURROUNDINGS, "", 0, Surroundings.all)
      begin
        Runner.new(options, cases, peers, measurements).run
      ensure
        # The results of an interrupted run are kept.
        keep(measurements, options.output) if measurements.cases.any?
      end
      measurements
    end

    def usable(peers)
      peers.select do |peer|
        there = peer == "floor" ? File.exist?(Player::FLOOR) : loads?(peer)
        warn "#{peer} is left out: #{peer == "floor" ? "it is not built" : "its gems are missing"}" unless there
        there
      end
    end

    def loads?(peer)
      library = File.join(Player::ROOT, "lib")
      system(RbConfig.ruby, "-I#{library}", "-r#{__dir__}/peers/#{peer}", "-e", "", %i[out err] => File::NULL)
    end

    def keep(measurements, path)
      FileUtils.mkdir_p(File.dirname(path))
      measurements.write("#{path}.csv")
      Chart.new(measurements).write("#{path}.svg")
      warn "Written: #{path}.csv, #{path}.svg"
    end
  end
end

exit Bench.run(ARGV) if $PROGRAM_NAME == __FILE__

# frozen_string_literal: true

require "optparse"

module Bench
  # Reads the command line.
  class Options
    attr_reader :action, :only, :peers, :rounds, :seconds, :warm_up_seconds, :idle_seconds, :output

    # @param suite [Suite]
    # @param arguments [Array<String>]
    def initialize(suite, arguments)
      @suite = suite
      @action = :measure
      @rounds = 5
      @seconds = 2
      @warm_up_seconds = 0.5
      @idle_seconds = 60
      @peers = suite.peers.keys
      parser.parse!(arguments)
      @only = [*@only, *arguments] if arguments.any?

      # The results of some cases only are no record.
      @output ||= whole? ? suite.record : File.join(SCRATCH, suite.name)
    end

    private

    def whole?
      @action == :measure && !@quick && @only.nil? && @peers == @suite.peers.keys
    end

    def parser
      OptionParser.new do |parser|
        parser.banner = "#{@suite.command} [options] [CASE ...]: #{@suite.purpose}\n" \
                        "A whole run goes to bench/results/#{@suite.name}.csv and .svg, any other to tmp/bench/."
        actions(parser)
        extent(parser)
      end
    end

    def actions(parser)
      parser.on("--list", "show the cases and peers") { @action = :list }
      parser.on("--report", "write the tables of bench/RESULTS.md from the recorded run") { @action = :report }
      parser.on("--check", "fail if a ratio has fallen by more than a third from the recorded one") do
        @action = :check
        shorten(rounds: 3, seconds: 1, warm_up: 0.5)
      end
    end

    def extent(parser)
      parser.on("--quick", "one short round") do
        @quick = true
        shorten(rounds: 1, seconds: 0.5, warm_up: 0.2)
      end
      parser.on("--rounds N", Integer, "rounds (#{@rounds})") { |rounds| @rounds = rounds }
      parser.on("--seconds N", Float, "s of each measurement (#{@seconds})") { |seconds| @seconds = seconds }
      parser.on("--warm-up N", Float, "s before each (#{@warm_up_seconds})") { |seconds| @warm_up_seconds = seconds }
      parser.on("--only CASE,...", Array, "only these cases or families") { |only| @only = only }
      parser.on("--peers PEER,...", Array, "only these peers") { |peers| @peers = known(peers) }
      parser.on("--output PATH", "where the results go, without .csv") { |path| @output = path }
    end

    def shorten(rounds:, seconds:, warm_up:)
      @rounds = rounds
      @seconds = seconds
      @warm_up_seconds = warm_up
      @idle_seconds = 20
    end

    def known(peers)
      unknown = peers - @suite.peers.keys
      raise OptionParser::InvalidArgument, "unknown peer #{unknown.join(", ")}; see --list" if unknown.any?

      peers
    end
  end
end

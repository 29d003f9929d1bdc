# frozen_string_literal: true

module Bench
  # Measures cases family by family, round by round, peer by peer, so that other load of the machine affects all alike.
  class Runner
    # The figures that are shown while it runs.
    SHOWN = %i[calls_s events_s messages_s rows_s cpu_us p50_us requests_s connect_ms rss_mib longest_ms
               commands_s].freeze

    # @param suite [Suite]
    # @param options [Options]
    # @param cases [Array<Case>]
    # @param peers [Array<String>]
    # @param measurements [Measurements] gets the figures
    def initialize(suite, options, cases, peers, measurements)
      @suite = suite
      @options = options
      @cases = cases
      @peers = peers
      @measurements = measurements
      @done = 0
    end

    def run
      @cases.group_by(&:family).each_value { |family| measure(family) }
      warn ""
    end

    private

    def measure(family)
      worlds = {}
      rounds(family).times do |round|
        family.each do |one|
          (one.peers & @peers).each { |peer| figures(one, peer, round, worlds) }
        end
      end
    ensure
      worlds.each_value(&:stop)
    end

    def figures(one, peer, round, worlds)
      figures = @suite.kinds.fetch(one.kind).call(one, peer, @options, worlds)
      @measurements.add(one.name, peer, round + 1, figures)
      show(one, peer, round, figures)
    end

    # An idle process takes long to measure and varies little, so it gets one round.
    def rounds(family)
      family.first.kind == :idle ? 1 : @options.rounds
    end

    def total
      @total ||= @cases.sum { |one| (one.peers & @peers).size * rounds([one]) }
    end

    def show(one, peer, round, figures)
      @done += 1
      shown = figures.slice(*SHOWN).map { |name, value| format("%<name>s %<value>.1f", name: name, value: value) }
      warn format("[%<done>d/%<total>d] %<case>s, round %<round>d, %<peer>s: %<shown>s",
                  done: @done, total: total, case: one.name, round: round + 1, peer: peer, shown: shown.join(", "))
    end
  end
end

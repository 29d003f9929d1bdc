# frozen_string_literal: true

module Bench
  # A target of the gem. Every target but the last few is a ratio within one run.
  #
  # - measure: its name
  # - bound: :most or :least
  # - limit: a number
  # - figure: a block that gets Figures and returns a number, or nil if something was not measured
  Target = Struct.new(:measure, :bound, :limit, :unit, :figure) do
    def reached?(value)
      bound == :most ? value <= limit : value >= limit
    end

    # Returns by what factor a value is worse than an earlier one: 1 is as good as before, 2 half as good.
    def worsening(value, before)
      return 1.0 if value == before

      bound == :most ? value / before : before / value
    end

    def wording
      "at #{bound} #{limit}#{unit}"
    end
  end

  # Returns medians by name, for the targets.
  class Figures
    GEM = "gem"
    # The floor is no peer either.
    NO_PEERS = [GEM, "floor"].freeze

    def initialize(measurements)
      @measurements = measurements
    end

    def gem(name, metric)
      of(name, GEM, metric)
    end

    # Returns a peer's figure.
    def of(name, peer, metric)
      @measurements.median(name, peer, metric)
    end

    # Returns the best figure of some peers.
    def best(name, peers, metric, best)
      peers.filter_map { |peer| of(name, peer, metric) }.public_send(best)
    end

    # Returns one figure divided by another; nil if one is missing.
    def quotient(one, other)
      one / other if one && other&.positive?
    end

    # Returns the gem's figure divided by a peer's.
    def beside(name, metric, peer)
      quotient(gem(name, metric), of(name, peer, metric))
    end

    # Returns the gem's figure divided by that of the best peer.
    def beside_best(name, metric, best)
      peers = @measurements.peers(name) - NO_PEERS
      quotient(gem(name, metric), best(name, peers, metric, best))
    end

    # Returns the gem's figure in one case divided by that in another.
    def between(name, other, metric)
      quotient(gem(name, metric), gem(other, metric))
    end

    # Returns one peer's figure divided by another's.
    def of_peers(name, metric, one, other)
      quotient(of(name, one, metric), of(name, other, metric))
    end
  end

  # The targets of calls.
  CALL_TARGETS = [
    ["one caller, p50, beside the floor", :most, 1.5, "x", ->(f) { f.beside("lone", :p50_us, "floor") }],
    ["one caller, p50, beside the best peer", :most, 1.0, "x", ->(f) { f.beside_best("lone", :p50_us, :min) }],
    ["16 threads, calls/s, beside the best peer", :least, 2.5, "x",
     ->(f) { f.beside_best("threads_16", :calls_s, :max) }],
    ["64 threads, calls/s, beside the best peer", :least, 3.0, "x",
     ->(f) { f.beside_best("threads_64", :calls_s, :max) }],
    ["64 threads, calls/s, beside plain-Ruby streams", :least, 3.0, "x",
     ->(f) { f.beside("threads_64", :calls_s, "streams") }],
    ["64 threads, calls/s, beside lists, default driver", :least, 5.0, "x",
     ->(f) { f.beside("threads_64", :calls_s, "lists") }],
    ["64 threads, calls/s, beside gRPC", :least, 8.0, "x", ->(f) { f.beside("threads_64", :calls_s, "grpc") }],
    ["1,000 in flight, calls/s, beside the floor", :least, 0.5, "x",
     ->(f) { f.beside("async_1000", :calls_s, "floor") }],
    ["16 KiB, 16 threads, calls/s, beside the best peer", :least, 2.0, "x",
     ->(f) { f.beside_best("content_16k", :calls_s, :max) }],
    ["JSON-RPC server, 16 threads, requests/s, beside plain Ruby", :least, 3.0, "x",
     ->(f) { f.of_peers("json_rpc_serve", :requests_s, "json_rpc", "lists") }],
    ["Redis commands per call, alone", :most, 6, "", ->(f) { f.gem("lone", :commands)&.round(1) }],
    ["Redis commands per call, 64 threads", :most, 3, "", ->(f) { f.gem("threads_64", :commands)&.round(1) }],
    ["cost per call, 64 groups beside 2", :most, 1.1, "x", ->(f) { f.between("groups_2", "groups_64", :calls_s) }],
    ["cost per call, 100,000 waiting beside 0", :most, 1.2, "x",
     ->(f) { f.between("waiting_0", "waiting_100000", :calls_s) }],
    ["throughput, 8 instances beside 1 (5 ms handlers)", :least, 6, "x",
     ->(f) { f.between("instances_8", "instances_1", :calls_s) }],
    ["idle, Redis commands/s", :most, 2, "", ->(f) { f.gem("idle", :commands_s) }],
    ["idle, CPU", :most, 0.2, " %", ->(f) { f.gem("idle", :cpu_percent) }],
    ["memory over bare Ruby", :most, 10, " MiB", ->(f) { f.gem("idle", :rss_mib) }]
  ].map { |values| Target.new(*values) }.freeze
end

# frozen_string_literal: true

module Bench
  # A measurement. Cases of one family are measured in turn, round by round.
  #
  # - name, family, title
  # - kind: one that its suite knows, such as :load (calls are made)
  # - peers: those for which the case makes sense
  # - world: see World
  # - load: see Load
  Case = Struct.new(:name, :family, :title, :kind, :peers, :world, :load, keyword_init: true)

  # The cases of calls.
  module Cases
    # The peers in the order of the tables.
    PEERS = {
      "gem" => "redis_ipc",
      "streams" => "streams, plain Ruby, hiredis, batched",
      "lists_hiredis" => "lists, hiredis, 4 server loops",
      "lists" => "lists, redis-rb, 1 server loop",
      "json_rpc" => "redis_ipc, JSON-RPC, at least once",
      "json_rpc_once" => "redis_ipc, JSON-RPC, at most once",
      "drb_tcp" => "DRb, TCP",
      "drb_unix" => "DRb, unix socket",
      "grpc" => "gRPC",
      "floor" => "floor: bare Rust"
    }.freeze
    # The JSON-RPC peers have cases of their own, beside plain Ruby with the same protocol.
    JSON_RPC = %w[json_rpc json_rpc_once].freeze
    LISTS = [*JSON_RPC, "lists_hiredis", "lists"].freeze
    TALKERS = (PEERS.keys - JSON_RPC).freeze
    RUBY = (TALKERS - ["floor"]).freeze
    WITHOUT_REDIS = %w[drb_tcp drb_unix grpc].freeze
    ASYNCHRONOUS = %w[gem streams floor].freeze
    # Only Ruby peers have such a world, because the program of the floor runs no handler.
    SLEEPING = { answer: { handler_ms: 5, workers: 16 } }.freeze

    SIZES = { "64b" => ["64 B", 64, 16], "1k" => ["1 KiB", 1 << 10, 16], "16k" => ["16 KiB", 16 << 10, 16],
              "1m" => ["1 MiB", 1 << 20, 4] }.freeze

    class << self
      def all
        @all ||= callers + contents + scaling + json_rpc + costs
      end

      # Returns the peers that a reader would compare.
      def compared(one)
        one.name.start_with?("json_rpc") ? LISTS : TALKERS
      end

      private

      def callers
        [
          one("lone", "One caller, 64 B", TALKERS, threads: 1),
          one("threads_16", "16 threads, 64 B", TALKERS, threads: 16),
          one("threads_64", "64 threads, 64 B", TALKERS, threads: 64),
          one("async_1000", "1,000 in flight from one thread, 64 B", ASYNCHRONOUS, in_flight: 1000),
          one("handler_5ms", "16 threads, the handler sleeps 5 ms (16 handlers at once, at most 3,200/s)", RUBY,
              world: SLEEPING, threads: 16)
        ]
      end

      def contents
        SIZES.map do |name, (size, bytes, threads)|
          one("content_#{name}", "Contents of #{size}, #{threads} threads", TALKERS, threads: threads, bytes: bytes)
        end
      end

      def scaling
        groups = [1, 2, 16, 64].map do |count|
          family("groups", count, "#{count} connected on the stream, 16 threads ask one", groups_world(count),
                 threads: 16)
        end
        instances = [1, 2, 4, 8].map do |count|
          family("instances", count, "#{count} answering, each 3 handlers of 5 ms, 64 threads ask",
                 { answerers: count, answer: { handler_ms: 5 } }, threads: 64)
        end
        waiting = [0, 1_000, 10_000, 100_000].map do |count|
          family("waiting", count, "#{count} waiting for a group that nobody serves, 16 threads ask another",
                 { waiting: count }, threads: 16)
        end
        groups + instances + waiting
      end

      def json_rpc
        serve = Case.new(name: "json_rpc_serve", family: "json_rpc_serve", kind: :serve, peers: LISTS,
                         load: { requests: 50_000 }, title: "JSON-RPC: 50,000 requests wait for a server")
        [serve, one("json_rpc_calls", "JSON-RPC: 16 threads call, 64 B", LISTS, threads: 16)]
      end

      def costs
        backlog = [10_000, 100_000].map do |count|
          Case.new(name: "backlog_#{count}", family: "backlog", kind: :drain, peers: ["gem"], load: { requests: count },
                   title: "#{count} waiting for a group when one instance begins to serve it")
        end
        backlog + [
          Case.new(name: "start", family: "start", kind: :start, peers: RUBY, title: "Loading and connecting"),
          Case.new(name: "idle", family: "idle", kind: :idle, peers: RUBY, title: "An idle connected process")
        ]
      end

      # The groups are the asker's, the answerer's, and others. A single group asks itself.
      def groups_world(count)
        count == 1 ? { ask: { group: "child" } } : { crowd: count - 2 }
      end

      def family(family, count, title, world, **load)
        one("#{family}_#{count}", title, ["gem"], world: world, **load).tap { |one| one.family = family }
      end

      def one(name, title, peers, world: {}, **load)
        Case.new(name: name, family: name, title: title, kind: :load, peers: peers, world: world,
                 load: { bytes: 64 }.merge(load))
      end
    end
  end
end

# frozen_string_literal: true

module Bench
  # The cases of events: order x size x batch, of which each has all executors, and what else the targets ask for.
  module EventCases
    # Consumers of this gem: the executor and its size.
    EXECUTORS = { "thread" => [:threads, 1], "threads_5" => [:threads, 5], "threads_50" => [:threads, 50],
                  "fibers" => [:fibers, 50], "process" => [:processes, 1], "processes" => [:processes, 2] }.freeze
    # Plain loops: the program and its words.
    LOOPS = {
      "hiredis_batch" => ["plain.rb", { driver: "hiredis", acknowledge: "batch" }],
      "hiredis_each" => ["plain.rb", { driver: "hiredis", acknowledge: "each" }],
      "redis_client_batch" => ["plain.rb", { driver: "redis_client", acknowledge: "batch" }],
      "redis_client_each" => ["plain.rb", { driver: "redis_client", acknowledge: "each" }],
      "redis_rb_batch" => ["plain.rb", { driver: "redis_rb", acknowledge: "batch" }],
      "redis_rb_each" => ["plain.rb", { driver: "redis_rb", acknowledge: "each" }],
      "redis_py_batch" => ["plain.py", { acknowledge: "batch" }],
      "redis_py_each" => ["plain.py", { acknowledge: "each" }],
      "ioredis_batch" => ["plain.mjs", { acknowledge: "batch" }],
      "ioredis_each" => ["plain.mjs", { acknowledge: "each" }],
      "faststream" => ["faststream_app.py", {}]
    }.freeze
    # The peers in the order of the tables.
    PEERS = {
      "thread" => "redis_ipc, 1 thread", "threads_5" => "redis_ipc, 5 threads", "threads_50" => "redis_ipc, 50 threads",
      "fibers" => "redis_ipc, 50 fibers", "process" => "redis_ipc, 1 worker process",
      "processes" => "redis_ipc, 2 worker processes",
      "hiredis_batch" => "Ruby, hiredis, 100 acknowledged together", "hiredis_each" => "Ruby, hiredis, each",
      "redis_client_batch" => "Ruby, redis-client, together", "redis_client_each" => "Ruby, redis-client, each",
      "redis_rb_batch" => "Ruby, redis-rb, together", "redis_rb_each" => "Ruby, redis-rb, each",
      "redis_py_batch" => "Python, redis-py, together", "redis_py_each" => "Python, redis-py, each",
      "ioredis_batch" => "Node, ioredis, together", "ioredis_each" => "Node, ioredis, each",
      "faststream" => "Python, FastStream, each", "floor" => "floor: bare Rust"
    }.freeze
    # The loops in Ruby that the targets name.
    RUBY_LOOPS = %w[hiredis_batch redis_client_batch redis_rb_batch].freeze
    MATRIX = %w[thread threads_5 fibers processes].freeze
    # Of events of this size: how many bytes, and how many there must be for each second that is measured.
    SIZES = { "200b" => ["200 B", 200, 700_000], "2k" => ["2 KiB", 2 << 10, 250_000],
              "16k" => ["16 KiB", 16 << 10, 50_000] }.freeze
    ORDERS = { "none" => "without an order", "key" => "in order by key", "source" => "in the stream's order" }.freeze
    BATCH = 500

    class << self
      def all
        @all ||= SIZES.keys.flat_map { |size| sized(size).each { |one| one.family = size } } + others
      end

      # Returns the peers that a reader would compare.
      def compared(one)
        one.peers
      end

      private

      # Those of a size share a world.
      def sized(size)
        title, bytes, supply = SIZES.fetch(size)
        ORDERS.flat_map do |order, words|
          peers = order == "none" ? MATRIX + LOOPS.keys : MATRIX
          world = { bytes: bytes, supply: supply }
          [consume("#{order}_#{size}", "Events of #{title} #{words}", peers, world, order: order),
           consume("#{order}_#{size}_batch", "Events of #{title} #{words}, in batches of #{BATCH}", MATRIX, world,
                   order: order, batch: BATCH, handler: "batch")]
        end
      end

      def others
        small = { bytes: 200 }
        [
          consume("compute_1ms", "Handlers that compute for 1 ms", %w[thread process processes],
                  { supply: 5_000, **small }, handler: "compute"),
          consume("wait_5ms", "Handlers that wait for 5 ms, at most 10,000/s", %w[threads_50 fibers],
                  { supply: 12_000, **small }, handler: "wait"),
          one("latency", :latency, "One event at a time", ["thread", *LOOPS.keys, "floor"], order: "none"),
          one("latency_key", :latency, "One event at a time, in order by key", ["thread"], order: "key"),
          backlog(10_000), backlog(1_000_000)
        ]
      end

      def consume(name, title, peers, world, **load)
        one(name, :consume, title, peers, **load).tap { |one| one.world = world }
      end

      def backlog(events)
        title = "#{events.to_s.gsub(/(\d)(?=(\d{3})+$)/, '\1,')} events wait when the consumer begins"
        one("backlog_#{events}", :backlog, title, ["thread"], order: "none").tap do |one|
          one.family = "backlog"
          one.world = { bytes: 200, events: events }
        end
      end

      def one(name, kind, title, peers, **load)
        Case.new(name: name, family: name, title: title, kind: kind, peers: peers, world: {},
                 load: { order: "none", batch: 1, handler: "read" }.merge(load))
      end
    end
  end
end

# frozen_string_literal: true

module Bench
  # The suite of PostgreSQL's log: consumers of a log that is full, in this gem and in others.
  module Wal
    TOOL = WalPlayer::TOOL
    # The peers in the order of the tables.
    PEERS = { "wal" => "redis_ipc, 1 thread", "wal_batch" => "redis_ipc, 1 thread, batches of 500",
              "psycopg2" => "Python, psycopg2, rows counted", "psycopg2_values" => "Python, psycopg2, values read",
              TOOL => "pg_recvlogical to /dev/null" }.freeze
    GEM = %w[wal wal_batch].freeze
    # How many rows there are for each second.
    SUPPLY = 200_000
    LARGE = 1_000_000
    # Where rows are forwarded to, by the names of consumers/wal.rb (and "large").
    FORWARDS = { "stream" => "Into a stream", "large" => "Into a stream, all rows in one transaction",
                 "partitions" => "Into 16 partitions", "maxlen" => "Into a stream with maxlen: 10,000",
                 "key" => "Into a stream, the key from a callable" }.freeze
    PANELS = { "rows" => ["Rows of 200 B, rows/s", :rows_s],
               "latency" => ["One row at a time, commit to handler, p50, us (less is better)", :p50_us] }.freeze
    COLUMNS = { "rows/s" => :rows_s, "CPU us/row" => :cpu_us, "peak MiB" => :rss_mib, "p50 us" => :p50_us,
                "p99 us" => :p99_us }.freeze

    class << self
      def cases
        [one("rows", :rows, "Rows of 200 B, 1,000 in a transaction", PEERS.keys),
         one("latency", :latency, "One row at a time, commit to handler", ["wal", TOOL]),
         one("memory", :memory, "Memory after one row", %w[wal wal_batch], rows: 1),
         one("memory_large", :memory, "Memory after a transaction of 1,000,000 rows", %w[wal wal_batch], rows: LARGE),
         *FORWARDS.map { |name, title| forwarding(name, title) }]
      end

      # Measures a consumer from its first row to its last, by a slot of its own.
      def rows(one, peer, options, worlds)
        world = worlds[one.name] ||= WalWorld.new(rows: supply(options))
        world.with_slot { |slot| peer == TOOL ? of_tool(world, slot) : figures(peer, world, slot) }
      end

      # Measures how fast rows get into a stream of Redis, from the first to the last that it has acknowledged.
      def forward(one, peer, options, worlds)
        rows = supply(options)
        large = one.load.fetch(:large)
        world = worlds[large] ||= WalWorld.new(rows: rows, transaction: large ? rows : WalWorld::TRANSACTION)
        redis = RedisServer.new
        world.with_slot { |slot| figures(peer, world, slot, forward: one.load.fetch(:forward), port: redis.port) }
      ensure
        redis&.stop
      end

      def latency(_one, peer, options, _worlds)
        WalLatency.new(peer, options.seconds).measure
      end

      # Measures what a consumer takes for one transaction.
      def memory(one, peer, _options, worlds)
        count = one.load.fetch(:rows)
        world = worlds[one.name] ||= WalWorld.new(rows: count, transaction: count)
        world.with_slot do |slot|
          { rss_mib: WalPlayer.run(peer, world, slot, memory: 1).fetch(:rss_kib) / 1024.0 }
        end
      end

      private

      def supply(options)
        (options.seconds * SUPPLY).ceil
      end

      def forwarding(name, title)
        large = name == "large"
        one("forward_#{name}", :forward, title, %w[wal], forward: large ? "stream" : name, large: large).tap do |one|
          one.family = "forward"
        end
      end

      def one(name, kind, title, peers, **load)
        Case.new(name: name, family: name, title: title, kind: kind, peers: peers, world: {}, load: load)
      end

      def figures(peer, world, slot, **settings)
        measured = WalPlayer.run(peer, world, slot, **settings)
        events = measured.fetch(:events).to_f
        { rows_s: events / measured.fetch(:seconds), cpu_us: measured.fetch(:cpu_us) / events,
          rss_mib: measured.fetch(:rss_kib) / 1024.0 }
      end

      # It starts in a moment, so all of its time counts.
      def of_tool(world, slot)
        command = WalPlayer.tool(world, slot, File::NULL, "--endpos", world.end_of_log)
        began = [Process.clock_gettime(Process::CLOCK_MONOTONIC), Process.times]
        raise "pg_recvlogical failed" unless system(*command)

        seconds = Process.clock_gettime(Process::CLOCK_MONOTONIC) - began[0]
        before, after = [began[1], Process.times].map { |times| times.cutime + times.cstime }
        { rows_s: world.rows / seconds, cpu_us: (after - before) * 1e6 / world.rows }
      end
    end

    of = ->(metric, peer, other) { ->(f) { f.of_peers("rows", metric, peer, other) } }
    TARGETS = [
      ["rows/s, one thread, beside psycopg2", :least, 3.0, "x", of.call(:rows_s, "wal", "psycopg2")],
      ["rows/s, batches of 500, beside psycopg2", :least, 3.0, "x", of.call(:rows_s, "wal_batch", "psycopg2")],
      ["rows/s, one thread, beside pg_recvlogical", :least, 0.3, "x", of.call(:rows_s, "wal", TOOL)],
      ["commit to handler, p50, beside pg_recvlogical", :most, 2.0, "x",
       ->(f) { f.of_peers("latency", :p50_us, "wal", TOOL) }],
      ["memory after 1,000,000 rows in one transaction, beside one row", :most, 1.2, "x",
       ->(f) { f.quotient(f.of("memory_large", "wal", :rss_mib), f.of("memory", "wal", :rss_mib)) }]
    ].map { |values| Target.new(*values) }.freeze

    SUITE = Suite.new(
      name: "wal", mark: "wal ", command: "bin/bench wal",
      purpose: "measures consumers of PostgreSQL's log beside psycopg2 and pg_recvlogical",
      peers: PEERS, cases: cases.freeze, compared: ->(one) { one.peers }, absent: WalPlayer.method(:absent),
      columns: COLUMNS, spread: %i[rows_s p50_us], panels: PANELS,
      accents: GEM.to_h { |peer| [peer, Events::GEM] }, targets: TARGETS,
      checked: %w[rows latency memory memory_large],
      kinds: { rows: method(:rows), latency: method(:latency), memory: method(:memory), forward: method(:forward) }
    )
  end
end

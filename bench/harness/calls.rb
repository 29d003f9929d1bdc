# frozen_string_literal: true

module Bench
  # The suite of calls: redis_ipc beside other ways for two Ruby processes to talk.
  module Calls
    PANELS = { "lone" => ["One caller, p50, us (less is better)", :p50_us],
               "threads_16" => ["16 threads, calls/s", :calls_s],
               "threads_64" => ["64 threads, calls/s", :calls_s],
               "async_1000" => ["1,000 in flight, calls/s", :calls_s],
               "content_16k" => ["16 KiB, 16 threads, calls/s", :calls_s],
               "handler_5ms" => ["16 threads, handlers of 5 ms, calls/s", :calls_s] }.freeze
    COLUMNS = { "p50 us" => :p50_us, "p95 us" => :p95_us, "p99 us" => :p99_us, "calls/s" => :calls_s,
                "requests/s" => :requests_s,
                "commands/call" => :commands, "CPU us/call: asker" => :asker_cpu_us, "answerer" => :answerer_cpu_us,
                "Redis" => :redis_cpu_us, "require ms" => :require_ms, "connect ms" => :connect_ms,
                "connect ms (answering)" => :answerer_connect_ms, "commands/s" => :commands_s, "CPU %" => :cpu_percent,
                "MiB over bare Ruby" => :rss_mib }.freeze
    CHECKED = %w[lone threads_16 threads_64 async_1000 content_16k groups_2 groups_64 waiting_0 waiting_100000
                 instances_1 instances_8 idle].freeze

    class << self
      # A world is kept for all rounds of a family, and for all cases that have the same one.
      def load(one, peer, options, worlds)
        world = worlds[[peer, one.world]] ||= World.new(peer, **one.world)
        world.warm_up(one.load.merge(seconds: options.warm_up_seconds))
        world.measure(one.load.merge(seconds: options.seconds))
      end

      def absent(peer)
        return ("it is not built" unless File.exist?(Player::FLOOR)) if peer == "floor"

        "its gems are missing" unless loads?(peer)
      end

      private

      def loads?(peer)
        library = File.join(Player::ROOT, "lib")
        system(RbConfig.ruby, "-I#{library}", "-r#{Player::ROOT}/bench/peers/#{peer}", "-e", "",
               %i[out err] => File::NULL)
      end
    end

    SUITE = Suite.new(
      name: "latest", mark: "", command: "bin/bench",
      purpose: "measures redis_ipc beside its peers (bin/bench events: consumers of events; live: subscribers)",
      peers: Cases::PEERS, cases: Cases.all, compared: Cases.method(:compared), absent: method(:absent),
      columns: COLUMNS, spread: %i[p50_us calls_s requests_s connect_ms], panels: PANELS,
      accents: { "gem" => "#b3261e", "floor" => "#9e9e9e" }, targets: CALL_TARGETS, checked: CHECKED,
      kinds: { load: method(:load),
               drain: ->(one, *) { Special.drain(**one.load) },
               serve: ->(one, peer, *) { Special.serve(peer, **one.load) },
               start: ->(_, peer, *) { Special.start(peer) },
               idle: ->(_, peer, options, _) { Special.idle(peer, options.idle_seconds) } }
    )
  end
end

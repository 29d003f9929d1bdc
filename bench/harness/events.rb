# frozen_string_literal: true

module Bench
  # The suite of events: consumers of a stream that is full, in this gem and in plain programs.
  module Events
    # The longest time that is measured where it matters to empty the stream, in seconds.
    LONG = 600
    GEM = "#b3261e"
    PANELS = { "none_200b" => ["Events of 200 B, events/s", :events_s],
               "none_200b_batch" => ["Events of 200 B, batches of 500, events/s", :events_s],
               "key_200b" => ["Events of 200 B in order by key, events/s", :events_s],
               "none_2k" => ["Events of 2 KiB, events/s", :events_s],
               "none_16k" => ["Events of 16 KiB, events/s", :events_s],
               "latency" => ["One event at a time, publish to handler, p50, us (less is better)", :p50_us] }.freeze
    COLUMNS = { "events/s" => :events_s, "CPU us/event" => :cpu_us, "peak MiB" => :rss_mib,
                "handled: p50 us" => :p50_us, "p99 us" => :p99_us, "acknowledged: p50 us" => :ack_p50_us,
                "ack. p99 us" => :ack_p99_us }.freeze
    CHECKED = %w[none_200b none_200b_batch key_200b latency compute_1ms wait_5ms backlog_10000 backlog_1000000].freeze

    class << self
      # Measures a consumer for a while. A world is kept for all cases of a family.
      def consume(one, peer, options, worlds)
        seconds = options.seconds
        warm_up = options.warm_up_seconds
        events = (one.world.fetch(:supply) * (seconds + warm_up)).ceil
        world = worlds[one.world] ||= EventWorld.new(bytes: one.world.fetch(:bytes), events: events)
        figures(peer, world, { **one.load, warm_up: warm_up, seconds: seconds })
      end

      # Measures a consumer until the stream is at its end.
      def backlog(one, peer, _options, worlds)
        world = worlds[one.world] ||= EventWorld.new(**one.world)
        figures(peer, world, { **one.load, warm_up: 0, seconds: LONG })
      end

      def latency(one, peer, options, _worlds)
        Latency.new(peer, one.load, options.seconds).measure
      end

      private

      def figures(peer, world, settings)
        given = { port: world.port, events: world.events, **settings }
        measured = world.with_group { |group| EventPlayer.measure(peer, { group: group, **given }) }
        events = measured.fetch(:events).to_f
        { events_s: events / measured.fetch(:seconds), cpu_us: measured.fetch(:cpu_us) / events,
          rss_mib: measured.fetch(:rss_kib) / 1024.0 }
      end
    end

    SUITE = Suite.new(
      name: "events", mark: "events ", command: "bin/bench events",
      purpose: "measures consumers of events beside plain programs",
      peers: EventCases::PEERS, cases: EventCases.all, compared: EventCases.method(:compared),
      absent: EventPlayer.method(:absent), columns: COLUMNS, spread: %i[events_s p50_us], panels: PANELS,
      accents: { **EventCases::EXECUTORS.transform_values { GEM }, "floor" => "#9e9e9e" }, targets: EVENT_TARGETS,
      checked: CHECKED, kinds: { consume: method(:consume), backlog: method(:backlog), latency: method(:latency) }
    )
  end
end

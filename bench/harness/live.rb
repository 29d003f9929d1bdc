# frozen_string_literal: true

module Bench
  # The suite of live events: subscribers to channels, in this gem and in plain programs.
  module Live
    # How many messages there are for each second.
    SUPPLY = 500_000
    PANELS = { "channels_1" => ["1 channel, messages/s", :messages_s],
               "channels_100" => ["100 channels, messages/s", :messages_s],
               "shards_100" => ["100 channels of three nodes, messages/s", :messages_s] }.freeze
    COLUMNS = { "messages/s" => :messages_s, "CPU us/message" => :cpu_us, "longest, ms" => :longest_ms,
                "commands/s of the busiest server" => :commands_s, "CPU %" => :cpu_percent }.freeze

    class << self
      # Measures a subscriber from its first message to its last, on servers of its own.
      def subscribe(one, peer, options, _worlds)
        world = one.world.fetch(:servers).new
        scripts = (options.seconds * SUPPLY / LiveWorld::SCRIPT).ceil
        settings = { events: scripts * LiveWorld::SCRIPT, seconds: Events::LONG, **world.settings, **one.load }
        measured = EventPlayer.measure(peer, settings) { world.publish(scripts, one.load.fetch(:channels)) }
        events = measured.fetch(:events).to_f
        { messages_s: events / measured.fetch(:seconds), cpu_us: measured.fetch(:cpu_us) / events }
      ensure
        world&.stop
      end

      # Measures how long nothing comes at a fault of bin/chaos.
      def fault(one, *)
        require_relative "../../chaos/chaos"
        name = "live: #{one.load.fetch(:fault)}"
        fault = Chaos::Live::Table.faults.find { |known| known.name == name } || raise(KeyError, "no fault #{name}")
        row = Chaos::Live::Table.run(fault, calm: 0)
        raise "#{name}: #{row.reason}" unless row.run?

        { longest_ms: row.figures.fetch(one.load.fetch(:figure)) }
      end

      # Measures what a subscriber costs that gets nothing.
      def idle(one, peer, options, _worlds)
        world = one.world.fetch(:servers).new
        settings = { events: 1, seconds: Events::LONG, **world.settings, **one.load }
        EventPlayer.start(peer, settings) { |pid| idle_figures(world, pid, options.idle_seconds) }
      ensure
        world&.stop
      end

      private

      def idle_figures(world, pid, seconds)
        # By then, connecting is over.
        sleep 2
        commands = world.commands
        cpu = Player.cpu_us(pid)
        began = Process.clock_gettime(Process::CLOCK_MONOTONIC)
        sleep seconds
        took = Process.clock_gettime(Process::CLOCK_MONOTONIC) - began
        # Each look is an INFO.
        made = world.commands.zip(commands).map { |after, before| after - before - 1 }
        { commands_s: made.max / took, cpu_percent: (Player.cpu_us(pid) - cpu) / took / 1e4 }
      end
    end

    SUITE = Suite.new(
      name: "live", mark: "live ", command: "bin/bench live", purpose: "measures subscribers beside plain programs",
      peers: LiveCases::PEERS, cases: LiveCases.all, compared: ->(one) { one.peers },
      absent: EventPlayer.method(:absent),
      columns: COLUMNS, spread: %i[messages_s longest_ms], panels: PANELS,
      accents: LiveCases::GEM.to_h { |peer| [peer, Events::GEM] }, targets: LIVE_TARGETS,
      checked: LiveCases.all.map(&:name),
      kinds: { subscribe: method(:subscribe), fault: method(:fault), idle: method(:idle) }
    )
  end
end

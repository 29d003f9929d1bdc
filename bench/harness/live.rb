# frozen_string_literal: true

module Bench
  # The suite of live events: subscribers to channels, in this gem and in plain programs.
  module Live
    # Each subscriber: the program and its words.
    SUBSCRIBERS = {
      "subscriber" => ["subscriber.rb", { threads: 1 }], "subscriber_5" => ["subscriber.rb", { threads: 5 }],
      "subscriber_batch" => ["subscriber.rb", { threads: 1, batch: 500 }],
      "redis_rb_subscriber" => ["subscriber.rb", { driver: "redis_rb" }],
      "redis_py_subscriber" => ["subscriber.py", {}]
    }.freeze
    # The peers in the order of the tables.
    PEERS = { "subscriber" => "redis_ipc, 1 thread", "subscriber_5" => "redis_ipc, 5 threads",
              "subscriber_batch" => "redis_ipc, 1 thread, batches of 500", "redis_rb_subscriber" => "Ruby, redis-rb",
              "redis_py_subscriber" => "Python, redis-py" }.freeze
    GEM = %w[subscriber subscriber_5 subscriber_batch].freeze
    # How many messages there are for each second.
    SUPPLY = 100_000
    # How many messages one script publishes.
    SCRIPT = 1_000
    PUBLISH = <<~LUA
      local payload = string.rep("x", 200)
      for number = 1, ARGV[1] do
        redis.call("PUBLISH", "channel" .. (number % ARGV[2]), payload)
      end
    LUA
    PANELS = { "channels_1" => ["1 channel, messages/s", :messages_s],
               "channels_100" => ["100 channels, messages/s", :messages_s] }.freeze
    COLUMNS = { "messages/s" => :messages_s, "CPU us/message" => :cpu_us }.freeze
    CASES = { "channels_1" => ["1 channel", 1], "channels_100" => ["100 channels", 100] }.map do |name, (title, count)|
      Case.new(name: name, family: "channels", title: "#{title}, messages of 200 B", kind: :subscribe,
               peers: PEERS.keys, world: {}, load: { channels: count })
    end.freeze

    class << self
      # Measures a subscriber from its first message to its last, on a server of its own.
      def subscribe(one, peer, options, _worlds)
        scripts = (options.seconds * SUPPLY / SCRIPT).ceil
        server = server_without_limits
        settings = { port: server.port, events: scripts * SCRIPT, seconds: Events::LONG, **one.load }
        measured = EventPlayer.measure(peer, settings) { publish(server, scripts, one.load.fetch(:channels)) }
        events = measured.fetch(:events).to_f
        { messages_s: events / measured.fetch(:seconds), cpu_us: measured.fetch(:cpu_us) / events }
      ensure
        server&.stop
      end

      private

      # A subscriber that is slower than the script is not cut off.
      def server_without_limits
        RedisServer.new.tap do |server|
          server.client.config(:set, "client-output-buffer-limit", "pubsub 0 0 0")
        end
      end

      def publish(server, scripts, channels)
        scripts.times { server.client.eval(PUBLISH, [], [SCRIPT, channels]) }
      end
    end

    SUITE = Suite.new(
      name: "live", mark: "live ", command: "bin/bench live", purpose: "measures subscribers beside plain programs",
      peers: PEERS, cases: CASES, compared: ->(one) { one.peers }, absent: EventPlayer.method(:absent),
      columns: COLUMNS, spread: %i[messages_s], panels: PANELS, accents: GEM.to_h { |peer| [peer, Events::GEM] },
      targets: [], checked: [], kinds: { subscribe: method(:subscribe) }
    )
  end
end

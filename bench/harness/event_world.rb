# frozen_string_literal: true

module Bench
  # A Redis server with a stream full of events. Each consumer reads it by a group of its own.
  class EventWorld
    # How many events one script adds.
    SCRIPT = 10_000
    KEYS = 10_000
    # What an event has besides its filler, in bytes.
    REST = 30
    FILL = <<~LUA
      local filler = string.rep("x", ARGV[3])
      for number = ARGV[1], ARGV[1] + ARGV[2] - 1 do
        redis.call("XADD", KEYS[1], "*", "key", "k" .. number % ARGV[4],
                   "data", '{"number":' .. number .. ',"filler":"' .. filler .. '"}')
      end
    LUA

    attr_reader :events, :port

    # @param bytes [Integer] the size of the JSON of each
    # @param events [Integer] how many there are
    def initialize(bytes:, events:)
      @server = RedisServer.new
      @port = @server.port
      @events = events
      @groups = 0
      (0...events).step(SCRIPT) do |first|
        @server.client.eval(FILL, ["events"], [first, [SCRIPT, events - first].min, [bytes - REST, 0].max, KEYS])
      end
    end

    # Yields the name of a new group.
    def with_group
      group = "bench#{@groups += 1}"
      yield group
    ensure
      forget(group)
    end

    def stop
      @server.stop
    end

    private

    # What a group has pending takes memory, and that of an order is in keys of its own.
    def forget(group)
      @server.client.xgroup(:destroy, "events", group)
      @server.client.xgroup(:destroy, "events", "#{group}:lanes")
      @server.client.del("events:events:#{group}")
    end
  end
end

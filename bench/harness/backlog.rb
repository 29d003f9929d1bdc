# frozen_string_literal: true

module Bench
  # Requests that wait in an inbox of this gem, as docs/protocol.md has them.
  class Backlog
    REPLIES = "house:replies:parent:backlog"
    BATCH = 1000
    # In ms: they outlive the measurement.
    TTL = 3_600_000

    def initialize(server)
      @redis = server.client
    end

    # Puts so many requests into the inbox of a group.
    def fill(group, count)
      @redis.xgroup(:create, REPLIES, "new", "$", mkstream: true) unless @redis.exists?(REPLIES)
      count.times.each_slice(BATCH) do |numbers|
        @redis.pipelined do |pipeline|
          numbers.each { |number| pipeline.xadd(inbox(group), request(group, number)) }
        end
      end
    end

    # How many wait there.
    def size(group)
      @redis.xlen(inbox(group))
    end

    private

    def inbox(group)
      "house:inbox:#{group}"
    end

    def request(group, number)
      { id: format("%032x", number), instance_id: "backlog", status: "pending", content: "\"#{"x" * 64}\"",
        source_group: "parent", destination_group: group, reply_to: REPLIES, ttl: TTL }
    end
  end
end

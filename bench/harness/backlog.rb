# frozen_string_literal: true

module Bench
  # Puts requests into an inbox of this gem, in the form of docs/protocol.md.
  class Backlog
    REPLIES = "house:replies:parent:backlog"
    BATCH = 1000
    # The ttl in ms. The requests outlive the measurement.
    TTL = 3_600_000

    def initialize(server)
      @redis = server.client
    end

    # Puts a number of requests into the inbox of a group.
    def fill(group, count)
      @redis.xgroup(:create, REPLIES, "new", "$", mkstream: true) unless @redis.exists?(REPLIES)
      count.times.each_slice(BATCH) do |numbers|
        @redis.pipelined do |pipeline|
          numbers.each { |number| pipeline.xadd(inbox(group), request(group, number)) }
        end
      end
    end

    # Returns how many requests wait in it.
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

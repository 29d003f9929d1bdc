# frozen_string_literal: true

require "json"

module Bench
  # Puts JSON-RPC requests on the list of the peers that serve one. All answers go to one list.
  class CallBacklog
    QUEUE = "rpc:queue"
    REPLIES = "rpc:queue:reply:0123456789abcdef"
    BATCH = 1000

    def initialize(server)
      @redis = server.client
    end

    def fill(count)
      count.times.each_slice(BATCH) do |numbers|
        @redis.pipelined { |pipeline| numbers.each { |number| pipeline.lpush(QUEUE, request(number)) } }
      end
    end

    # Returns how many were answered.
    def answered
      @redis.llen(REPLIES)
    end

    private

    def request(number)
      JSON.generate({ jsonrpc: "2.0", id: number, method: "echo", params: ["x" * 64], reply_to: REPLIES })
    end
  end
end

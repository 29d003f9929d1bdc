# frozen_string_literal: true

module Chaos
  # JSON-RPC, at least once, when processes and Redis die.
  module Table
    json_rpc = { protocol: Protocols::JSONRPC, promise: Promises::NoticesAreNotLost.new }

    fault "JSON-RPC: servers killed at random, 6 times", **json_rpc, lane: :processes, outage: false, timeout: 5,
                                                                     work: 0.005, settle: 6 do
      again_and_again(6, every: 0.7) do
        kill(any(answerers))
        add(:answerer).wait_until_ready
      end
    end

    fault "JSON-RPC: rolling deploy, 6 times", protocol: Protocols::JSONRPC, lane: :processes, outage: false,
                                               timeout: 1.5, promise: Promises::EveryCallIsAnswered.new do
      again_and_again(6, every: 0.3) { replace_oldest_answerer }
    end

    fault "JSON-RPC: Redis killed, its data kept", **json_rpc, place: -> { Place.durable }, quick: true do
      restart_server
    end

    fault "JSON-RPC: Redis killed 5 times, its data kept", **json_rpc, place: -> { Place.durable } do
      restart_server(times: 5, away: 0.3)
    end

    fault "JSON-RPC: Redis killed, its data lost", protocol: Protocols::JSONRPC do
      restart_server
    end
  end
end

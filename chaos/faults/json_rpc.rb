# frozen_string_literal: true

module Chaos
  # JSON-RPC, at least once, when processes and Redis die.
  module Table
    json_rpc = { protocol: Protocols::JSONRPC, promise: Promises::NoticesAreNotLost.new }
    durable = -> { Place.new(appendonly: "yes", appendfsync: "always") }

    fault "JSON-RPC: servers killed at random, 6 times", **json_rpc, outage: false, timeout: 5, work: 0.005,
                                                                     settle: 6 do
      again_and_again(6, every: 0.7) do
        kill(answerers.sample)
        add(:answerer).wait_until_ready
      end
    end

    fault "JSON-RPC: Redis killed, its data kept", **json_rpc, place: durable, quick: true do
      server.kill
      stand 0.7
      server.start
    end

    fault "JSON-RPC: Redis killed 5 times, its data kept", **json_rpc, place: durable do
      4.times do
        server.kill
        stand 0.3
        server.start
        stand 1
      end
      server.kill
      stand 0.3
      server.start
    end

    fault "JSON-RPC: Redis killed, its data lost", protocol: Protocols::JSONRPC do
      server.kill
      stand 0.7
      server.start
    end
  end
end

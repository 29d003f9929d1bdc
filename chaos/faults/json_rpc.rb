# frozen_string_literal: true

module Chaos
  # Processes and Redis die under JSON-RPC, at least once.
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

    left = { protocol: Protocols::JSONRPC, outage: false, promise: Promises::NothingIsLeft.new, settle: 6 }
    # The load is far less than can be done, so a request that is not done in time was held up.
    light = { protocol: Protocols::JSONRPC, outage: false, work: 0.03 }
    calls = { asker: { threads: 0, interval: 0.02 } }

    # No request comes meanwhile, so the server's read waits in Redis; the first request after that goes to it.
    fault "JSON-RPC: an idle server is stopped (SIGSTOP), taken for dead, and killed",
          **left, lane: :processes, alone: "nothing may be asked meanwhile",
                  tolerated: "what its read took is run a lease later" do
      stopped = answerers.first
      askers.each { |asker| asker.kill(:STOP) }
      stand 0.5
      stopped.kill(:STOP)
      stand 5
      askers.each { |asker| asker.kill(:CONT) }
      stand 0.3
      kill(stopped)
      add(:answerer).wait_until_ready
    end

    # No request comes while the servers connect again, so their earlier reads wait in Redis.
    fault "JSON-RPC: half-open: Redis does not hear that connections broke, 3 times",
          **left, place: -> { ProxiedPlace.new }, alone: "needs a proxy",
                  tolerated: "what a read of before took is run a lease later" do
      again_and_again(3, every: 0.5) do
        askers.each { |asker| asker.kill(:STOP) }
        stand 0.5
        place.proxy.abandon
        stand 0.7
        askers.each { |asker| asker.kill(:CONT) }
      end
    end

    # It takes over what the others ran and puts it back, and none of its threads is free to take it. So the askers
    # withdraw it, and must not be told that it never ran.
    fault "JSON-RPC: servers are killed, and the one that is left is stuck",
          **light, settings: { **calls, answerer: { options: { lease: 0.4 } } }, alone: "has a load of its own",
                   lane: :processes, settle: 4 do
      killed = answerers
      stuck = add(:answerer, work: 30)
      stuck.wait_until_ready
      stand 1
      killed.each { |answerer| kill(answerer) }
      stand 3
      2.times { add(:answerer).wait_until_ready }
      # The requests that have piled up are done or withdrawn.
      stand 2
      kill(stuck)
    end

    { "a minute ahead" => 60, "a minute back" => -60 }.each do |name, step|
      fault "JSON-RPC: Redis's clock steps #{name}",
            **light, place: -> { ClockedPlace.new }, alone: "needs a clock of its own", settings: calls, settle: 12,
                     promise: Promises::NothingRunsTwice.new do
        place.clock.step(step)
        stand 0.1
      end
    end

    fault "JSON-RPC: failover to a server whose clock is 6 s ahead",
          **light, place: -> { AheadPlace.new(6) }, alone: "needs a replica", settings: calls, settle: 12 do
      place.promote
      back!
      server.kill
    end
  end
end

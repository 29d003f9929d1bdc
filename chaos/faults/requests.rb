# frozen_string_literal: true

module Chaos
  # The requests themselves are dangerous, or too many. Redis is well all the time.
  module Table
    # By streams, requests that two processes died with are taken over one at a time; by lists they all go back.
    streams = { protocol: Protocols::Streams, told: "rejected RedisIPC::DeadLetteredError", beside: 1 }
    json_rpc = { protocol: Protocols::JSONRPC, told: "rejected -32000", beside: 20 }
    poison = { "a request kills who runs it, 3 deliveries" => { **streams, count: 1, deliveries: 3, quick: true },
               "2 requests kill who runs them, 5 deliveries" => { **streams, count: 2, deliveries: 5 },
               "JSON-RPC: 2 kill who runs them, 5 deliveries" => { **json_rpc, count: 2, deliveries: 5 } }

    poison.each do |name, row|
      limits = { lease: 0.4, max_deliveries: row[:deliveries] }
      limits = { consumer: limits } if row[:protocol] == Protocols::Streams
      fault name, quick: row[:quick], alone: "has a load of its own", outage: false, timeout: 5,
                  protocol: row[:protocol], settings: { answerer: { options: limits } },
                  promise: Promises::PoisonIsGivenUpOn.new(**row.slice(:count, :deliveries, :told, :beside)) do
        poisoner = add(:asker, threads: 0, interval: nil, poison: row[:count], timeout: 25)
        Chaos.eventually(timeout: 40) { replace_answerers && dead.grep(%r{/poison/}).size >= row[:count] }
        leave([poisoner])
      end
    end

    # 6 consumers that take 60 ms answer 100 requests a second.
    slow = { alone: "has a load of its own", outage: false, timeout: 1, work: 0.06, calm: true,
             settings: { asker: { threads: 1, pause: 0.1, interval: 0.1 } },
             promise: Promises::OverloadIsShed.new(times: 8) }

    fault "overload: 10 times what can be done, for 5 s", **slow do
      storm = Array.new(2) { add(:asker, threads: 0, interval: 0.001) }
      stand_and_look(5)
      leave(storm)
    end

    # Makes ids an hour ahead, as if the clock had been ahead and had been set right. Late requests may be withdrawn.
    ahead = lambda do
      Place.new.tap do |place|
        id = place.admin.xadd(INBOX, { a: 1 }, id: "#{(Time.now.to_i + 3600) * 1000}-0")
        place.admin.xdel(INBOX, id)
      end
    end
    late = { **slow, place: ahead, promise: Promises::OverloadIsShed.new(times: 8, spare: 2) }
    fault "overload: the same, with ids an hour ahead of Redis's clock", **late do
      storm = Array.new(2) { add(:asker, threads: 0, interval: 0.001) }
      stand_and_look(5)
      leave(storm)
    end

    fault "overload: the same, asked with max_open_calls", **slow do
      storm = Array.new(2) { add(:asker, threads: 0, interval: 0.001, options: { ledger: { max_open_calls: 50 } }) }
      stand_and_look(5)
      leave(storm)
    end
  end
end

# frozen_string_literal: true

require "socket"

module Chaos
  # A user who may only add to an inbox or a queue, or show presence, adds entries that no gem would.
  module Table
    others = Promises::EveryCallIsAnsweredOnce.new
    alone = { outage: false, alone: "adds what is no request" }

    # `XADD` with `MINID` looks at the oldest entry. That takes Redis the longer, the more fields the entry has.
    fault "an entry of 300,000 empty fields added 5 times",
          **alone, calm: true,
                   promise: Promises::Together.new(others, Promises::AreGivenUp.new(5),
                                                   Promises::NothingGrows.new(process: megabytes(150))) do
      5.times do
        TCPSocket.open("127.0.0.1", server.port) do |socket|
          socket.write("*600003\r\n$4\r\nXADD\r\n$#{INBOX.size}\r\n#{INBOX}\r\n$1\r\n*\r\n")
          socket.write("$0\r\n\r\n" * 600_000)
          socket.gets
        end
        stand_and_look(0.5)
      end
    end

    # With such a lease the answerers read the presence every 3 s.
    looking = { outage: false, settings: { answerer: { options: { consumer: { lease: 0.1 } } } },
                promise: Promises::Together.new(Promises::EveryCallIsAnswered.new, Promises::MalformedIsToldOnce.new) }

    fault "bad rows in the presence", **looking do
      again_and_again(8, every: 0.5) do
        now = redis("TIME").first.to_i * 1000
        redis "ZADD", "house:instances", "+inf", "answerer:i:host:1", now + 0.5, "\xFF:i:host:1".b, now, "short"
      end
    end

    fault "60,000 rows in the presence for 4 s", **looking do
      script = "for i = 1, 60000 do redis.call('ZADD', KEYS[1], ARGV[1], 'other:i:host:' .. i) end"
      redis "EVAL", script, 1, "house:instances", redis("TIME").first.to_i * 1000
      stand 4
      redis "DEL", "house:instances"
    end

    # Redis takes no request until an instance has made the inbox again.
    fault "the ids of the inbox used up, 3 times", **alone do
      again_and_again(3, every: 1) do
        id = "18446744073709551615-18446744073709551615"
        redis "XADD", INBOX, id, "a", "b"
        Chaos.eventually { redis("XINFO", "GROUPS", INBOX).flatten.include?(id) }
        redis "XDEL", INBOX, id
      end
    end

    fault "the inbox made to expire (PEXPIRE), 5 times", outage: false do
      again_and_again(5, every: 0.3) { redis "PEXPIRE", INBOX, 1 }
    end

    # Both keys exist, so they would take answers: one of another group, and the askers' own.
    fault "requests name the reply streams of others", **alone, promise: others do
      redis "XGROUP", "CREATE", "house:replies:other:x", "g", "$", "MKSTREAM"
      fields = { id: 1, instance_id: "x", status: "pending", content: JSON.generate(id: "x", answer_size: 50_000),
                 source_group: "stranger", destination_group: "answerer", ttl: 5000 }
      again_and_again(20, every: 0.05) do
        redis("KEYS", "house:replies:*").each do |key|
          redis "XADD", INBOX, "*", *fields.merge(reply_to: key).flatten
        end
      end
      raise "answers went to another group" if redis("XLEN", "house:replies:other:x").positive?
    end
  end
end

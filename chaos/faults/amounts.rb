# frozen_string_literal: true

module Chaos
  # A user who may only add to an inbox or a queue adds much, or asks for much. No process's memory may grow by it.
  # Calls may fail while it keeps Redis itself busy for longer than the timeouts.
  module Table
    alone = { outage: false, alone: "adds what is no request" }

    letters = { answerer: { options: { dead_letters: { max_size: megabytes(8) } } } }
    bounds = Promises::NothingGrows.new(process: megabytes(150), redis: megabytes(60))
    fault "malformed entries flood the dead letters (100 MB in 4 s)",
          **alone, calm: true, settings: letters, promise: bounds do
      again_and_again(20, every: 0) do
        script = "for i = 1, 50 do redis.call('XADD', KEYS[1], '*', 'junk', string.rep('x', 100000)) end"
        redis "EVAL", script, 1, INBOX
        stand_and_look(0.2)
      end
    end

    # Redis makes the content, so only processes that read it have it in memory.
    small = { answerer: { options: { max_content_size: 100_000 } } }
    fault "requests of 20 MB where 100 kB are allowed, 5 times",
          **alone, calm: true, settings: small,
                   promise: Promises::Together.new(Promises::AreGivenUp.new(5),
                                                   Promises::NothingGrows.new(process: megabytes(60))) do
      again_and_again(5, every: 0) do
        script = "return redis.call('XADD', KEYS[1], '*', 'content', string.rep(string.rep('x', 1000), 20000))"
        redis "EVAL", script, 1, INBOX
        stand_and_look(0.5)
      end
    end

    # The load asks for 100 MB in 4 s. Answers of the first second get through.
    fault "answers of 100 kB pile up in a reply stream that nobody reads",
          **alone, calm: true, settings: small,
                   promise: Promises::NothingGrows.new(process: megabytes(150), redis: megabytes(70)) do
      key = "house:replies:other:x"
      redis "XGROUP", "CREATE", key, "g", "$", "MKSTREAM"
      fields = { instance_id: "x", status: "pending", content: JSON.generate(id: "x", answer_size: 99_000),
                 source_group: "other", destination_group: "answerer", ttl: 5000, reply_to: key }
      again_and_again(25, every: 0) do
        40.times { |number| redis "XADD", INBOX, "*", "id", number, *fields.flatten }
        stand_and_look(0.16)
      end
    end

    fault "JSON-RPC: batches of 1,000 whose answers have 1 MB each",
          **alone, protocol: Protocols::JSONRPC, calm: true,
                   promise: Promises::NothingGrows.new(process: megabytes(400), redis: megabytes(150)) do
      key = "#{Scene::PLACE}:reply:#{"s" * 32}"
      batch = Array.new(1000) do |number|
        { jsonrpc: "2.0", id: number, method: "echo", params: [{ id: "stranger", answer_size: 1_000_000 }],
          reply_to: key, deadline: (redis("TIME").first.to_i + 60) * 1000 }
      end
      3.times { redis "LPUSH", Scene::PLACE, JSON.generate(batch) }
      stand_and_look(3)
    end
  end
end

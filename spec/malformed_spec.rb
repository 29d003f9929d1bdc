# frozen_string_literal: true

RSpec.describe "entries that are not of this protocol" do
  let(:request) do
    { "id" => "1", "instance_id" => "x", "status" => "pending", "content" => "1", "source_group" => "x",
      "destination_group" => "child", "reply_to" => "house:replies:x:y", "ttl" => "5000" }
  end

  def kept
    redis.xrange("house:dead:child").map(&:last)
  end

  {
    "no field of ours" => ->(_) { { "hello" => "world" } },
    "a missing field" => ->(request) { request.except("ttl") },
    "a status that is none" => ->(request) { request.merge("status" => "fulfilled") },
    "content that is no JSON" => ->(request) { request.merge("content" => "{") },
    "content nested too deep" => ->(request) { request.merge("content" => ("[" * 101) + ("]" * 101)) },
    "a number of too many digits" => ->(request) { request.merge("content" => "1" * 4097) },
    "too many values" => ->(request) { request.merge("content" => "[#{"0," * 999_999}0]") },
    "a ttl past all numbers" => ->(request) { request.merge("ttl" => "9" * 30) },
    "an id that is too long" => ->(request) { request.merge("id" => "x" * 1025) },
    "content in broken UTF-8" => ->(request) { request.merge("content" => "\"\xFF\"") },
    "a ttl that is no number" => ->(request) { request.merge("ttl" => "soon") },
    "an answer that is to go elsewhere" => ->(request) { request.merge("reply_to" => "house:inbox:child") },
    "an answer that is to go to another group" => ->(request) { request.merge("reply_to" => "house:replies:z:y") },
    "too many fields" => ->(request) { request.merge(Array.new(70) { |index| ["f#{index}", "x"] }.to_h) }
  }.each do |what, change|
    it "reach on_error and the dead letters, and stop nothing: #{what}" do
      child = connect("child", &echo)
      fields = change.call(request)
      id = redis.xadd("house:inbox:child", fields)

      error = next_of(errors)
      expect(error).to be_a(RedisIPC::MalformedEntryError)
      expect(error).to have_attributes(stream: "house", group: "child", entry_id: id)
      # This is the number of fields that are read of an entry.
      fields.first(64).each { |name, value| expect(kept.first[name].b).to eq(value.b) }
      expect(kept.first).to include("dead_id" => id, "dead_reason" => error.message[/\A[^(]+/].strip)
      eventually { redis.xlen("house:inbox:child").zero? }
      expect(connect("parent").send_to_group(content: "fine", to: "child").value).to eq("fine")
      expect(child.stats).to include(malformed: 1, dead_lettered: 1, held_requests: 0)
    end
  end

  it "are answered with a rejection if they name the asker" do
    connect("child", &echo)
    redis.xgroup(:create, "house:replies:x:y", "g", "$", mkstream: true)
    redis.xadd("house:inbox:child", request.merge("content" => "{"))
    _, answer = eventually { redis.xrange("house:replies:x:y").first }
    expect(answer).to include("id" => "1", "status" => "rejected", "error" => "RedisIPC::MalformedEntryError")
    expect(JSON.parse(answer["content"])).to match(/not JSON/)
  end

  it "are answered if the asker's name is as long as a name may be" do
    connect("child", max_content_size: 10, &echo)
    ["p" * 1_000, "p:%" * 341].each do |group|
      response = connect(group).send_to_group(content: "too much for it", to: "child")
      expect(response.error).to eq("RedisIPC::MalformedEntryError")
    end
  end

  it "never let an answerer write outside of the reply streams of its stream" do
    connect("child", &echo)
    redis.xadd("elsewhere", { "a" => "b" })
    redis.xgroup(:create, "house:replies:z:y", "g", "$", mkstream: true)
    ["elsewhere", "house:inbox:child", "house:replies:z:y", "house:replies:xx:y",
     "other:replies:x:y", "house:replies:x", "house:replies::y", "house:replies:x:",
     "house:replies:x:y:z", "house:instances", "HOUSE:replies:x:y", " house:replies:x:y", "house:replies:\xFF:y",
     "house:replies:x:#{"y" * 9000}"].each do |key|
      redis.xadd("house:inbox:child", request.merge("reply_to" => key))
      next_of(errors)
      # `keys` lists all keys, so it would show one that was created.
      expect(redis.keys - %w[elsewhere house:inbox:child house:dead:child house:instances house:replies:z:y])
        .to all(start_with("house:replies:child:").or(start_with("house:stats")))
    end
    expect([redis.xlen("elsewhere"), redis.xlen("house:replies:z:y")]).to eq([1, 0])
    eventually { redis.xlen("house:inbox:child").zero? }
  end

  it "are handled normally if names are only unusual" do
    seen = Queue.new
    connect("child") do |entry|
      seen << entry
      fulfill_request(entry, content: "fine")
    end
    strange = { "id" => "a\u0000\r\nSHUTDOWN\r\n", "instance_id" => "\e[31m", "source_group" => "x:\n* 1 2" }
    reply_to = "house:replies:x%3A\n* 1 2:y"
    redis.xgroup(:create, reply_to, "g", "$", mkstream: true)
    redis.xadd("house:inbox:child", request.merge(strange).merge("ttl" => ((2**64) - 1).to_s, "reply_to" => reply_to))
    expect(next_of(seen)).to have_attributes(strange.transform_keys(&:to_sym))
    _, answer = eventually { redis.xrange(reply_to).first }
    expect(answer).to include("id" => strange["id"], "destination_group" => strange["source_group"])
  end

  it "end no call if their id is unknown" do
    go = Queue.new
    asked = Queue.new
    connect("child") do |entry|
      asked << entry.id
      go.pop
      fulfill_request(entry, content: "the true one")
    end
    parent = connect("parent")
    future = parent.async_send_to_group(content: 1, to: "child")
    forged = { "instance_id" => "x", "status" => "fulfilled", "content" => "1", "source_group" => "child",
               "destination_group" => "parent" }
    id = next_of(asked)
    # Ids that are nearly right: with one digit changed, in capitals, with a space, with a newline.
    ids = ["0" * 32, "", "\xFF" * 32, id.succ, "#{id} ", "#{id}\n", "0x#{id}", id[0..-2], id.tr("a-f", "A-F")] - [id]
    ids.each { |wrong| redis.xadd("house:replies:parent:#{parent.instance_id}", forged.merge("id" => wrong)) }
    eventually { parent.stats[:answers_unmatched] == ids.size }
    go << true
    expect(future.value).to eq("the true one")
    expect(parent.stats).to include(malformed: 0, fulfilled: 1)
  end

  it "end the call that they answer, if they are answers" do
    parent = connect("parent")
    future = parent.async_send_to_group(content: 1, to: "child")
    _, sent = eventually { redis.xrange("house:inbox:child").first }
    redis.xadd(sent["reply_to"], { "id" => sent["id"], "status" => "fulfilled", "content" => "{" })
    expect { future.value }.to raise_error(RedisIPC::MalformedEntryError, /answer from "child" is malformed/)
    expect(parent.stats).to include(malformed: 1, failed: 1, open_calls: 0)
  end

  it "are counted and dropped if they answer nothing" do
    parent = connect("parent")
    redis.xadd("house:replies:parent:#{parent.instance_id}", { "what" => "ever" })
    eventually { parent.stats[:answers_unmatched] == 1 }
  end
end

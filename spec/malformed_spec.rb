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
    "content in broken UTF-8" => ->(request) { request.merge("content" => "\"\xFF\"") },
    "a ttl that is no number" => ->(request) { request.merge("ttl" => "soon") },
    "an answer that is to go elsewhere" => ->(request) { request.merge("reply_to" => "house:inbox:child") },
    "too many fields" => ->(request) { request.merge(Array.new(70) { |index| ["f#{index}", "x"] }.to_h) }
  }.each do |what, change|
    it "reach on_error and the dead letters, and stop nothing: #{what}" do
      child = connect("child", &echo)
      fields = change.call(request)
      id = redis.xadd("house:inbox:child", fields)

      error = next_of(errors)
      expect(error).to be_a(RedisIPC::MalformedEntryError)
      expect(error).to have_attributes(stream: "house", group: "child", entry_id: id)
      fields.each { |name, value| expect(kept.first[name].b).to eq(value.b) }
      expect(kept.first).to include("dead_id" => id, "dead_reason" => error.message[/\A[^(]+/].strip)
      eventually { redis.xlen("house:inbox:child").zero? }
      expect(connect("parent").send_to_group(content: "fine", to: "child").value).to eq("fine")
      expect(child.stats).to include(malformed: 1, dead_lettered: 1, held_requests: 0)
    end
  end

  it "are answered with a rejection where they say whom to tell" do
    connect("child", &echo)
    redis.xgroup(:create, "house:replies:x:y", "g", "$", mkstream: true)
    redis.xadd("house:inbox:child", request.merge("content" => "{"))
    _, answer = eventually { redis.xrange("house:replies:x:y").first }
    expect(answer).to include("id" => "1", "status" => "rejected", "error" => "RedisIPC::MalformedEntryError")
    expect(JSON.parse(answer["content"])).to match(/not JSON/)
  end

  it "never make an answerer write outside the reply streams of its stream" do
    connect("child", &echo)
    redis.xadd("elsewhere", { "a" => "b" })
    %w[elsewhere house:inbox:child other:replies:x:y].each do |key|
      redis.xadd("house:inbox:child", request.merge("reply_to" => key))
      next_of(errors)
    end
    expect(redis.xlen("elsewhere")).to eq(1)
    eventually { redis.xlen("house:inbox:child").zero? }
  end

  it "end the call they answer, if they are answers" do
    parent = connect("parent")
    future = parent.async_send_to_group(content: 1, to: "child")
    _, sent = eventually { redis.xrange("house:inbox:child").first }
    redis.xadd(sent["reply_to"], { "id" => sent["id"], "status" => "fulfilled", "content" => "{" })
    expect { future.value }.to raise_error(RedisIPC::MalformedEntryError, /answer from "child" is malformed/)
    expect(parent.stats).to include(malformed: 1, failed: 1, open_calls: 0)
  end

  it "are counted and dropped, if they answer nothing" do
    parent = connect("parent")
    redis.xadd("house:replies:parent:#{parent.instance_id}", { "what" => "ever" })
    eventually { parent.stats[:answers_unmatched] == 1 }
  end
end

# frozen_string_literal: true

# A stopped asker, or a stranger that names another group's reply stream, has answers pile up.
RSpec.describe "a reply stream that nobody reads" do
  let(:key) { "house:replies:other:x" }
  let(:limit) { 16 << 20 }

  before { redis.xgroup(:create, key, "g", "$", mkstream: true) }

  def serve
    connect("child", max_content_size: 100_000) { |entry| fulfill_request(entry, content: "x" * 90_000) }
  end

  def ask(count)
    script = <<~LUA
      for i = 1, ARGV[1] do
        redis.call('XADD', KEYS[1], '*', 'id', i, 'instance_id', 'i', 'status', 'pending', 'content', '1', 'source_group',
          'other', 'destination_group', 'child', 'reply_to', ARGV[2], 'ttl', '60000')
      end
    LUA
    redis.eval(script, keys: ["house:inbox:child"], argv: [count, key])
  end

  def used
    redis.call("MEMORY", "USAGE", key, "SAMPLES", "0")
  end

  it "is not filled: what finds no room becomes a short rejection, and once it is read there is room again" do
    child = serve
    ask(300)
    eventually { child.stats[:answers_sent] == 300 }
    # It is looked at after each MiB, while others are on their way.
    expect(used).to be_between(limit / 2, limit + (4 << 20))
    _, answer = redis.xrevrange(key, count: 1).first
    expect(answer).to include("status" => "rejected", "error" => "RedisIPC::CommandError")
    expect(answer["content"]).to match(/9000\d bytes was not sent: \d+ bytes wait unread/)
    expect(next_of(errors).message).to match(/wait unread in the reply stream/)
    expect(child.stats[:answers_dropped]).to be_between(50, 299)

    redis.xtrim(key, 0)
    eventually do
      ask(1)
      redis.xrevrange(key, count: 1).first&.last&.fetch("status") == "fulfilled"
    end
  end

  it "does not keep an asker that reads from its answers, however much they are" do
    serve
    parent = connect("parent")
    futures = Array.new(300) { parent.async_send_to_group(content: 1, to: "child", timeout: 30) }
    expect(futures.map { |future| future.value.size }.tally).to eq(90_000 => 300)
  end
end

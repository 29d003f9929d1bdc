# frozen_string_literal: true

# Answers pile up if an asker is stopped, or if an attacker names the reply stream of another group.
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

  # Asks for so much that there is no room left, and goes on until an answer finds none.
  def exceed(child)
    ask(200)
    eventually { child.stats[:answers_sent] == 200 }
    eventually(every: 0.02) do
      ask(1)
      child.stats[:answers_dropped].positive?
    end
  end

  it "is not overfilled: an answer without room becomes a short rejection, and once it is read there is room again" do
    child = serve
    exceed(child)
    expect(used).to be_between(limit, limit + (8 << 20))
    eventually { redis.xrevrange(key, count: 1).first.last["status"] == "rejected" }
    _, answer = redis.xrevrange(key, count: 1).first
    expect(answer).to include("error" => "RedisIPC::CommandError")
    expect(answer["content"]).to match(/9000\d bytes was not sent: \d+ bytes wait unread/)
    expect(next_of(errors).message).to match(/wait unread in the reply stream/)

    redis.xtrim(key, 0)
    eventually do
      ask(1)
      redis.xrevrange(key, count: 1).first&.last&.fetch("status") == "fulfilled"
    end
  end

  it "is not overfilled after many small answers" do
    fill(500, "x")
    exceed(serve)
    expect(used).to be < limit + (8 << 20)
  end

  it "gets nothing more, however small, once it exceeds its room by 16 MiB" do
    fill(33, "x" * (1 << 20))
    child = connect("child", max_content_size: 100_000) { |entry| fulfill_request(entry, content: "x" * 900) }
    eventually(every: 0.02) do
      ask(300)
      child.stats[:answers_dropped] > 300
    end
    expect(next_of(errors).message).to match(/wait unread in the reply stream/)
    eventually { redis.xlen("house:inbox:child").zero? }
    before = redis.xlen(key)
    ask(2_000)
    eventually { redis.xlen("house:inbox:child").zero? }
    # One answer a second checks whether there is room again.
    expect(redis.xlen(key) - before).to be < 200
    redis.xtrim(key, 0)
    eventually do
      ask(1)
      redis.xlen(key).positive?
    end
  end

  it "may be full for a moment: a burst that is faster than its reader causes no rejection" do
    child = serve
    ask(250)
    eventually { child.stats[:answers_sent] == 250 }
    expect(used).to be > limit
    expect(child.stats[:answers_dropped]).to eq(0)
  end

  it "has room for what follows a few large answers" do
    fill(5, "x" * (1 << 20))
    fill(40, "x" * 5_000)
    child = serve
    ask(15)
    # After this time the stream could be taken for full.
    happens?(within: 1.1) { child.stats[:answers_dropped].positive? }
    ask(30)
    eventually { child.stats[:answers_sent] == 45 }
    expect(used).to be < limit
    expect(child.stats[:answers_dropped]).to eq(0)
  end

  def fill(count, content)
    redis.pipelined { |pipeline| count.times { pipeline.xadd(key, { "content" => content }) } }
  end

  it "does not limit the answers of an asker that reads" do
    serve
    parent = connect("parent")
    futures = Array.new(300) { parent.async_send_to_group(content: 1, to: "child", timeout: 30) }
    expect(futures.map { |future| future.value.size }.tally).to eq(90_000 => 300)
  end
end

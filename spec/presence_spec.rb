# frozen_string_literal: true

# Whoever shows presence can write anything into the sorted set that all look at.
RSpec.describe "presence" do
  let(:key) { "house:instances" }
  let(:day) { 86_400_000 }

  def row(group, pid = 1)
    "#{group}:#{"0" * 32}:host:#{pid}"
  end

  def groups(stream)
    stream.instances.map { |found| found[:group] }.sort
  end

  def now_ms
    (Time.now.to_f * 1000).to_i
  end

  it "is read whatever rows stand beside those of the gem; that is told once" do
    stream = connect("child", &echo)
    redis.zadd(key, [["+inf", row("infinite")], [now_ms + 0.25, row("float")], [now_ms, "\xFF:\xFE:\xFF:1".b],
                     [now_ms, "short"], [now_ms, ""]])
    expect(Array.new(3) { groups(stream) }).to all(eq(%w[child float]))
    error = next_of(errors)
    expect(error).to be_a(RedisIPC::MalformedEntryError)
      .and have_attributes(message: /3 members of "house:instances".*ZREM/, stream: "house")
    expect(errors).to be_empty
    redis.zrem(key, ["\xFF:\xFE:\xFF:1".b, "short", ""])
    expect(groups(stream)).to eq(%w[child float])
    redis.zadd(key, now_ms, "again")
    groups(stream)
    expect(next_of(errors).message).to match(/1 members/)
  end

  it "is cleaned of signs of life from a far future, and of nothing else" do
    redis.zadd(key, [["+inf", row("infinite")], [now_ms + (2 * day), row("far")], [now_ms + (day / 2), row("near")]])
    stream = connect("child")
    expect(groups(stream)).to eq(%w[child near])
    expect(redis.zrange(key, 0, -1)).to contain_exactly(row("near"), /\Achild:/)
  end

  it "does not stop the sweep when a row is bad" do
    stream = connect("child", consumer: { lease: 0.1 }, &echo)
    redis.xgroup(:createconsumer, "house:inbox:child", "child", "gone")
    redis.zadd(key, [["+inf", row("child")], [now_ms + 0.5, "bad"]])
    # It comes every 3 s with so short a lease.
    eventually { redis.xinfo(:consumers, "house:inbox:child", "child").map { |it| it["name"] } == [stream.instance_id] }
    expect(redis.zscore(key, row("child"))).to be_nil
  end

  it "keeps nothing from being taken over for longer than a lease made up in it, or at all by one over a day" do
    inbox = "house:inbox:child"
    redis.xgroup(:create, inbox, "child", "0", mkstream: true)
    future = connect("parent").async_send_to_group(content: 1, to: "child", timeout: 20)
    eventually { redis.xlen(inbox) == 1 }
    taken = now
    redis.xreadgroup("child", "dead", inbox, ">")
    redis.zadd(key, [[now_ms, "#{row("child")}:1500"], [now_ms, "#{row("child", 2)}:#{day + 1}"]])
    connect("child", consumer: { lease: 0.1 }, &echo)
    expect(future.value).to eq(1)
    expect(now - taken).to be_between(1.45, 10)
  end

  it "lets an instance without a handler refuse beside bad rows" do
    redis.zadd(key, [["+inf", row("child")], [now_ms + 0.5, "\xFF".b]])
    refusing = connect("child")
    expect(connect("parent").send_to_group(content: 1, to: "child").reason).to match(/no handler/)
    expect(refusing.stats).to include(reconnections: 0)
  end
end

# frozen_string_literal: true

# A user who may show presence can write anything into the sorted set that all instances read.
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

  it "is read whatever other rows there are; those are reported once" do
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

  it "loses heartbeats from a far future, and nothing else" do
    redis.zadd(key, [["+inf", row("infinite")], [now_ms + (2 * day), row("far")], [now_ms + (day / 2), row("near")]])
    stream = connect("child")
    expect(groups(stream)).to eq(%w[child near])
    expect(redis.zrange(key, 0, -1)).to contain_exactly(row("near"), /\Achild:/)
  end

  it "does not stop the sweep when a row is bad" do
    stream = connect("child", consumer: { lease: 0.1 }, &echo)
    redis.xgroup(:createconsumer, "house:inbox:child", "child", "gone")
    redis.zadd(key, [["+inf", row("child")], [now_ms + 0.5, "bad"]])
    # With so short a lease, the clean-up comes every 3 s.
    eventually { redis.xinfo(:consumers, "house:inbox:child", "child").map { |it| it["name"] } == [stream.instance_id] }
    expect(redis.zscore(key, row("child"))).to be_nil
  end

  it "delays a take-over no longer than a forged lease in it, and not at all with one of over a day" do
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

  describe "with more rows than are read" do
    # Writes heartbeats of other groups, which count as current for as long as the example may take.
    def flood(rows = 50_001)
      script = "for i = 1, ARGV[2] do redis.call('ZADD', KEYS[1], ARGV[1], ARGV[3] .. i) end"
      redis.eval(script, keys: [key], argv: [now_ms + 60_000, rows, "other:#{"0" * 32}:host:"])
    end

    it "reports that once to on_error, until they are gone; requests are answered and taken over meanwhile" do
      child = connect("child", consumer: { lease: 0.1 }, &echo)
      flood
      message = /"house:instances" has more than 50000 rows.*ZRANGE.*DEL/
      3.times { expect { child.instances }.to raise_error(RedisIPC::MalformedEntryError, message) }
      expect(next_of(errors)).to have_attributes(message: message, stream: "house")
      parent = connect("parent")
      expect(parent.send_to_group(content: 1, to: "child").value).to eq(1)
      # Delivers a valid request to a consumer that does not exist, so that only a take-over can answer it.
      redis.xgroup(:create, "house:inbox:late", "late", "0", mkstream: true)
      future = parent.async_send_to_group(content: 2, to: "late", timeout: 20)
      eventually { redis.xreadgroup("late", "dead", "house:inbox:late", ">").any? }
      connect("late", consumer: { lease: 0.1 }, &echo)
      expect(future.value).to eq(2)
      redis.del(key)
      eventually { groups(child) == %w[child late] }
      told = Array.new(errors.size) { errors.pop.message }
      unmarked, told = told.partition { |text| text.start_with?("requests that may crash their process run unmarked") }
      expect(unmarked.size).to be <= 1
      expect(told.grep(message).size).to be <= 1
      expect(told - told.grep(message)).to be_empty
    end
  end
end

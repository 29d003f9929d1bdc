# frozen_string_literal: true

# What a user with the right to ask a group can do to its inbox.
RSpec.describe "an inbox" do
  let(:inbox) { "house:inbox:child" }
  let(:last) { "18446744073709551615-18446744073709551615" }
  let(:parent) { connect("parent") }

  def exhaust
    redis.multi do |transaction|
      transaction.xadd(inbox, { "a" => "b" }, id: last)
      transaction.xdel(inbox, last)
    end
  end

  # Returns the answer, once Redis accepts the request.
  def answer(content)
    eventually do
      parent.send_to_group(content: content, to: "child", timeout: 5).value
    rescue RedisIPC::CommandError => e
      raise unless e.outcome == :not_sent && e.message.include?("exhausted")
    end
  end

  it "whose ids are used up is created again" do
    child = connect("child", &echo)
    expect(answer(1)).to eq(1)
    redis.xadd(inbox, { "a" => "b" }, id: last)
    # If it were deleted before anybody has read it, that would be noticed later (below).
    eventually { child.stats[:malformed] == 1 }
    redis.xdel(inbox, last)
    expect(answer(2)).to eq(2)
    eventually { Array.new(errors.size) { errors.pop }.any? { |error| error.message.include?("used up its ids") } }
    expect(redis.pttl(inbox)).to be_positive
  end

  it "whose ids are used up while nobody reads is created again by the next instance" do
    redis.xgroup(:create, inbox, "child", "0", mkstream: true)
    exhaust
    connect("child", &echo)
    expect(answer(1)).to eq(1)
  end

  it "whose ids are used up unnoticed is created again within 30 heartbeats" do
    connect("child", consumer: { lease: 0.1 }, &echo)
    expect(answer(1)).to eq(1)
    exhaust
    expect(answer(2)).to eq(2)
  end

  it "keeps its entries when it is created again: with their ids, running ones pending, the rest in order" do
    gate = Queue.new
    runs = Queue.new
    handler = proc do |entry|
      runs << [entry.redis_id, entry.content]
      gate.pop
      fulfill_request(entry, content: entry.content)
    end
    child = connect("child", consumer: { pool_size: 1, lease: 1 }, &handler)
    parent = connect("parent")
    futures = Array.new(4) { |index| parent.async_send_to_group(content: index, to: "child", timeout: 20) }
    first = next_of(runs)
    eventually { redis.xlen(inbox) == 4 }
    ids = redis.xrange(inbox).map(&:first)
    exhaust
    # Its reader is not told of new entries, because no ids are left. The next one to look is the one that connects.
    connect("child", consumer: { pool_size: 1, lease: 1 }, &handler)
    eventually { redis.xinfo(:stream, inbox)["last-generated-id"] != last }
    expect(redis.xrange(inbox).map(&:first)).to eq(ids)
    pending = redis.xpending(inbox, "child", "-", "+", 10)
    row = { "entry_id" => first.first, "consumer" => child.instance_id, "count" => 1 }
    expect(pending).to include(a_hash_including(row))
    4.times { gate << true }
    expect(futures.map(&:value)).to eq([0, 1, 2, 3])
    expect(Array.new(runs.size) { runs.pop.last }).to contain_exactly(1, 2, 3)
    eventually { redis.xlen(inbox).zero? }
  end

  it "that an attacker lets expire is created again" do
    child = connect("child", &echo)
    expect(answer(1)).to eq(1)
    redis.pexpire(inbox, 1)
    # What is in the inbox when it expires is lost.
    eventually do
      redis.xinfo(:stream, inbox)["entries-added"].zero?
    rescue Redis::CommandError
      false
    end
    expect(answer(2)).to eq(2)
    eventually { child.connected? }
  end
end

# frozen_string_literal: true

RSpec.describe "overload" do
  it "does not keep a group from finishing in time the requests that it starts", timeout: 120 do
    runs = Queue.new
    child = connect("child") do |entry|
      runs << entry.id
      sleep 0.05
      fulfill_request(entry, content: entry.content)
    end
    parent = connect("parent")
    # 3 threads can do 60 requests a second; 600 a second are sent.
    futures = Array.new(50) do |tick|
      sleep 0.1
      Array.new(60) { |index| parent.async_send_to_group(content: [tick, index], to: "child", timeout: 2) }
    end.flatten
    responses = futures.map { |future| future.response rescue nil } # rubocop:disable Style/RescueModifier
    fulfilled, rejected = responses.compact.partition(&:fulfilled?)
    # Without shedding, hardly any request that was started after the first 2 s was answered in time.
    expect(fulfilled.size).to be > runs.size / 2
    expect(rejected.map(&:error).uniq).to eq(["RedisIPC::OverloadedError"])
    expect(rejected.first.reason).to include("overloaded")
    expect(child.stats).to include(shed: be >= rejected.size, dead_lettered: 0)
    stats = parent.stats
    expect(stats.values_at(:fulfilled, :rejected, :timed_out, :open_calls).sum).to eq(3_000)
    expect(stats[:open_calls]).to eq(0)
    # Nothing is left anywhere.
    eventually { child.stats[:held_requests].zero? && redis.xlen("house:inbox:child").zero? }
  end

  it "sheds nothing that may have run before" do
    request = { "instance_id" => "x", "status" => "pending", "content" => "1", "source_group" => "x",
                "reply_to" => "house:replies:x:y", "ttl" => "300" }
    # Sends requests faster than they can be done, by plain commands, until `counter` exceeds 10.
    asked = lambda do |group, counter, fields|
      child = connect(group, consumer: { pool_size: 1 }) { |entry| sleep(0.02) && fulfill_request(entry, content: 1) }
      eventually do
        redis.pipelined do |pipeline|
          5.times { pipeline.xadd("house:inbox:#{group}", { "id" => SecureRandom.hex, **request, **fields }) }
        end
        child.stats[counter] > 10
      end
      child.stats[:shed]
    end
    expect(asked.call("fresh", :shed, { "destination_group" => "fresh" })).to be > 10
    expect(asked.call("old", :expired, { "destination_group" => "old", "resent" => "1" })).to eq(0)
  end

  it "sheds nothing that has most of its time left" do
    gate = Queue.new
    child = connect("child", consumer: { pool_size: 1 }) do |entry|
      gate.pop
      fulfill_request(entry, content: entry.content)
    end
    parent = connect("parent")
    futures = Array.new(100) { |index| parent.async_send_to_group(content: index, to: "child", timeout: 60) }
    100.times { gate << true }
    expect(futures.map(&:value)).to eq((0...100).to_a)
    expect(child.stats).to include(shed: 0)
  end

  it "is refused at the asker once ledger.max_open_calls are open" do
    parent = connect("parent", ledger: { max_open_calls: 5 })
    5.times { parent.async_send_to_group(content: 1, to: "child", timeout: 30) }
    expect { parent.send_to_group(content: 1, to: "child") }.to raise_error(
      RedisIPC::OverloadedError, /5 calls are open already \(ledger.max_open_calls\)/
    ) { |error| expect(error).to have_attributes(outcome: :not_sent, stream: "house", group: "child") }
    expect(parent.stats).to include(requests: 5, open_calls: 5, overloaded: 1)
    connect("child", &echo)
    eventually { parent.stats[:open_calls].zero? }
    expect(parent.send_to_group(content: 1, to: "child").value).to eq(1)
  end

  it "of a slow instance leaves requests to free instances" do
    gate = Queue.new
    slow = connect("child", consumer: { pool_size: 2 }) do |entry|
      gate.pop
      fulfill_request(entry, content: "slow")
    end
    parent = connect("parent")
    stuck = Array.new(2) { parent.async_send_to_group(content: 0, to: "child", timeout: 60) }
    eventually { slow.stats[:held_requests] == 2 }
    connect("child") { |entry| fulfill_request(entry, content: "free") }
    answers = Array.new(200) { parent.async_send_to_group(content: 1, to: "child", timeout: 60) }.map(&:value)
    expect(answers.uniq).to eq(["free"])
    expect(slow.stats).to include(taken: 2, held_requests: 2)
    2.times { gate << true }
    expect(stuck.map(&:value)).to eq(%w[slow slow])
  end
end

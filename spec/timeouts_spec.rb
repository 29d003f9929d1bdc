# frozen_string_literal: true

RSpec.describe "deadlines" do
  it "raises TimeoutError at the call's own deadline" do
    connect("child") { nil }
    parent = connect("parent")
    took = seconds do
      expect { parent.send_to_group(content: 1, to: "child", timeout: 0.3) }
        .to raise_error(RedisIPC::TimeoutError) { |error|
          expect(error).to have_attributes(
            stream: "house", group: "child", entry_id: a_string_matching(/\A\h{32}\z/),
            redis: a_string_including("unix")
          )
        }
    end
    expect(took).to be_between(0.3, 4)
  end

  it "takes the configured deadline if the call has none" do
    parent = connect("parent", ledger: { entry_timeout: 0.2 })
    took = seconds { expect { parent.send_to_group(content: 1, to: "nobody") }.to raise_error(RedisIPC::TimeoutError) }
    # The default is 5 s.
    expect(took).to be_between(0.2, 4)
  end

  describe "TimeoutError#outcome" do
    let(:parent) { connect("parent") }

    def ask(to, timeout: 0.3)
      parent.send_to_group(content: 1, to: to, timeout: timeout)
    end

    it "is :unclaimed if nobody took it, and then it never runs" do
      expect(unclaimed { ask("nobody") }.outcome).to eq(:unclaimed)
      expect(redis.xlen("house:inbox:nobody")).to eq(0)
      ran = Queue.new
      late = connect("nobody") { |entry| (ran << entry) && fulfill_request(entry, content: 2) }
      expect(parent.send_to_group(content: 2, to: "nobody").value).to eq(2)
      expect(ran.size).to eq(1)
      expect(late.stats).to include(taken: 1)
    end

    it "is :unclaimed if the group exists but is busy" do
      started = Queue.new
      gate = Queue.new
      connect("child", consumer: { pool_size: 1 }) do |entry|
        started << entry
        gate.pop
        fulfill_request(entry, content: 1)
      end
      first = parent.async_send_to_group(content: 1, to: "child", timeout: 20)
      next_of(started)
      expect(unclaimed { ask("child") }.outcome).to eq(:unclaimed)
      gate << true
      expect(first.value).to eq(1)
      expect(started).to be_empty
    end

    it "is :unknown if an instance took it" do
      started = Queue.new
      connect("child") { |entry| started << entry }
      # The timeout leaves enough time for the request to be taken.
      expect { ask("child", timeout: 2) }
        .to raise_error(RedisIPC::TimeoutError) { |error| expect(error.outcome).to eq(:unknown) }
      expect(started.size).to eq(1)
    end

    it "is :not_sent if Redis could not be reached at all" do
      server = start_server
      lone = build("lone").connect(redis_options: { path: server.path, connect_timeout: 5 })
      server.kill
      eventually { !lone.connected? }
      expect { lone.send_to_group(content: 1, to: "child", timeout: 0.3) }
        .to raise_error(RedisIPC::TimeoutError) { |error| expect(error.outcome).to eq(:not_sent) }
    end
  end

  it "raises ConnectionError once Redis has been out of reach for connect_timeout" do
    server = start_server
    lone = build("lone").connect(redis_options: { path: server.path, connect_timeout: 1 })
    server.kill
    eventually { !lone.connected? }
    took = seconds do
      expect { lone.send_to_group(content: 1, to: "child", timeout: 20) }
        .to raise_error(RedisIPC::ConnectionError) { |error|
          expect(error).to have_attributes(outcome: :not_sent, group: "child", redis: a_string_including("unix://"))
        }
    end
    expect(took).to be < 10
  end

  it "never starts an expired request" do
    parent = connect("parent")
    # Writes a request as from an asker that died, so nobody withdraws it.
    redis.xadd("house:inbox:child",
               { id: "1", instance_id: "x", status: "pending", content: "1", source_group: "x",
                 destination_group: "child", reply_to: "house:replies:x:x", ttl: "50" }, id: "#{redis_ms - 100}-0")
    ran = Queue.new
    child = connect("child") { |entry| (ran << entry.content) && fulfill_request(entry, content: 1) }
    parent.send_to_group(content: "fresh", to: "child")
    expect(Array.new(ran.size) { ran.pop }).to eq(["fresh"])
    expect(child.stats).to include(expired: 1)
    eventually { redis.xlen("house:inbox:child").zero? }
  end

  it "tells a handler that the deadline has passed" do
    entries = Queue.new
    child = connect("child") { |entry| entries << entry }
    future = connect("parent").async_send_to_group(content: 1, to: "child", timeout: 2)
    entry = next_of(entries)
    expect(entry).not_to be_expired
    future.wait
    eventually { entry.expired? }
    expect(child.fulfill_request(entry, content: "late")).to be(false)
  end

  describe "invalid times" do
    let(:parent) { connect("parent") }
    let(:client) { RedisIPC::JSONRPC::Client.new("queue", redis_options: redis_options) }
    let(:wrong) { [Float::NAN, -1, -1r, Complex(1, 1), "1"] }

    def refused(times)
      times.each do |time|
        expect { yield time }.to raise_error(ArgumentError, /timeout must be/)
      end
    end

    it "are ArgumentErrors of calls" do
      times = [*wrong, 0, Float::INFINITY, 1e20]
      refused(times) { |time| parent.send_to_group(content: 1, to: "child", timeout: time) }
      refused(times) { |time| parent.async_send_to_group(content: 1, to: "child", timeout: time) }
      refused(times) { |time| client.call("method", timeout: time) }
      refused(times) { |time| client.request("method", nil, timeout: time) }
      refused(times) { |time| client.notify("method", timeout: time) }
      refused(times) { |time| client.proxy(timeout: time) }
      refused(times) { |time| client.batch(timeout: time) { |batch| batch.call("method") } }
      refused(times) { |time| client.batch { |batch| batch.call("method", timeout: time) } }
    end

    it "are ArgumentErrors of a call if middleware sets them" do
      time = nil
      parent.around_request do |request, ask|
        request.timeout = time
        ask.call
      end
      refused([*wrong, 0, Float::INFINITY]) do |wrong|
        time = wrong
        parent.send_to_group(content: 1, to: "child")
      end
    end

    it "are ArgumentErrors of waiting" do
      connect("child", &echo)
      future = parent.async_send_to_group(content: 1, to: "child")
      refused(wrong - [-1, -1r]) { |time| future.wait(time) }
      gate = Queue.new
      chained = future.then { gate.pop }
      refused(wrong - [-1, -1r]) { |time| chained.wait(time) }
      gate << true
    end

    it "are ArgumentErrors of a dead letter's retry" do
      child = connect("child", &echo)
      redis.xadd("house:inbox:child", { "hello" => "world" })
      next_of(errors)
      letter = child.dead_letters.first
      refused([*wrong, 0, Float::INFINITY, 1e20]) { |time| letter.retry(timeout: time) }
    end

    it "are ArgumentErrors of disconnect, which says so before it does anything" do
      refused([*wrong, nil]) { |time| parent.disconnect(timeout: time) }
      refused(wrong) { |time| RedisIPC.disconnect(timeout: time) }
      client.connect
      refused([*wrong, nil]) { |time| client.disconnect(timeout: time) }
      expect([parent, client]).to all(be_connected)
      client.disconnect
    end
  end

  it "disconnects with any valid timeout" do
    [Float::INFINITY, 1e20, 10**30, 5r].each do |time|
      started = Queue.new
      child = build("child") { |entry| started << entry }.connect(redis_options: redis_options)
      call = connect("parent").async_send_to_group(content: 1, to: "child", timeout: 20)
      entry = next_of(started)
      leaving = Thread.new { child.disconnect(timeout: time) }
      eventually { !child.connected? }
      # Disconnecting waits for the answer, however long that takes.
      expect(leaving.join(0.2)).to be_nil
      entry.fulfill(1)
      leaving.join
      expect(call.value).to eq(1)
    end
  end

  it "ends overdue calls that nobody waits for" do
    parent = connect("parent", ledger: { cleanup_interval: 0.05 })
    parent.async_send_to_group(content: 1, to: "nobody", timeout: 0.1)
    eventually { parent.stats[:timed_out] == 1 && parent.stats[:open_calls].zero? }
    eventually { redis.xlen("house:inbox:nobody").zero? }
  end

  def redis_ms
    seconds, micros = redis.time
    (seconds * 1000) + (micros / 1000)
  end
end

# frozen_string_literal: true

require "logger"

RSpec.describe RedisIPC::Stream do
  it "asks and is answered" do
    connect("child") { |entry| fulfill_request(entry, content: "Yes, #{entry.source_group}") }
    response = connect("parent").send_to_group(content: "Please do this", to: "child")

    expect(response).to be_fulfilled
    expect(response).not_to be_rejected
    expect(response.status).to eq("fulfilled")
    expect([response.content, response.value, response.value!]).to all(eq("Yes, parent"))
    expect([response.reason, response.error]).to all(be_nil)
    expect([response.source_group, response.destination_group]).to eq(%w[child parent])
  end

  it "tells a rejection from an answer" do
    connect("child") { |entry| reject_request(entry, content: { why: "no" }) }
    response = connect("parent").send_to_group(content: 1, to: "child")

    expect(response).to be_rejected
    expect(response.status).to eq("rejected")
    expect(response.value).to be_nil
    expect(response.reason).to eq(why: "no")
    expect { response.value! }.to raise_error(RedisIPC::RejectedError, /child rejected the request/) { |error|
      expect(error.response).to be(response)
    }
  end

  it "gives the handler a frozen entry that says everything about the request" do
    entries = Queue.new
    child = connect("child") { |entry| (entries << entry) && fulfill_request(entry, content: nil) }
    parent = connect("parent")
    asked_at = Time.now
    response = parent.send_to_group(content: { a: 1 }, to: "child", timeout: 3)
    entry = next_of(entries)

    expect(entry).to be_frozen
    expect(entry).to have_attributes(
      id: response.id, instance_id: parent.instance_id, status: "pending", content: { a: 1 },
      source_group: "parent", destination_group: "child", pending?: true, fulfilled?: false, rejected?: false,
      expired?: false, deliveries: 1, redelivered?: false, redis_id: a_string_matching(/\A\d+-\d+\z/)
    )
    expect(entry.content).to be(entry.content)
    expect(entry.deadline).to be_within(1).of(asked_at + 3)
    expect(response.instance_id).to eq(child.instance_id)
    expect([parent.instance_id, child.instance_id, response.id]).to all(match(/\A\h{32}\z/))
  end

  it "wakes all callers whose answers come together, even if none of them calls again" do
    entries = Queue.new
    child = connect("child") { |entry| entries << entry }
    parent = connect("parent")
    # While this call is open, the stream's own thread reads.
    last = parent.async_send_to_group(content: 1, to: "child", timeout: 60)
    open = next_of(entries)
    5.times do
      asking = Array.new(20) do
        Thread.new { parent.send_to_group(content: 1, to: "child", timeout: 30).value }
      end
      Array.new(20) { next_of(entries) }.each { |entry| child.fulfill_request(entry, content: 2) }
      # Without a wake-up, each would notice only at its deadline.
      expect(asking.map { |thread| thread.join(15)&.value }).to all(eq(2))
    end
    child.fulfill_request(open, content: 3)
    expect(last.value).to eq(3)
  end

  it "asks itself, and asks its own group" do
    both = connect("both", &echo)
    expect(both.send_to_group(content: "me", to: "both").value).to eq("me")
  end

  it "runs an answerer that starts after the asker" do
    parent = connect("parent")
    future = parent.async_send_to_group(content: "early", to: "child", timeout: 20)
    eventually { redis.xlen("house:inbox:child") == 1 }
    connect("child", &echo)
    expect(future.value).to eq("early")
  end

  it "accepts Symbols for names" do
    connect(:child, stream: :house, &echo)
    expect(connect("parent").send_to_group(content: 1, to: :child).value).to eq(1)
  end

  it "takes nothing without a handler: requests to its group are withdrawn at the deadline" do
    asking = connect("parent")
    expect { connect("other").send_to_group(content: 1, to: "parent", timeout: 0.2) }
      .to raise_error(RedisIPC::TimeoutError) { |error| expect(error.outcome).to eq(:unclaimed) }
    expect(asking.stats).to include(taken: 0)
    expect(asking).to be_connected
  end

  it "leaves requests to the instances of the group that have a handler" do
    connect("child")
    connect("child", &echo)
    parent = connect("parent")
    answers = Array.new(20) { parent.send_to_group(content: "x", to: "child", timeout: 10) }
    expect(answers).to all(be_fulfilled)
  end

  it "returns the living instances" do
    connect("child", &echo)
    parent = connect("parent")
    expect(parent.instances.map { |row| row.slice(:group, :pid) }).to contain_exactly(
      { group: "child", pid: Process.pid }, { group: "parent", pid: Process.pid }
    )
    expect(parent.instances.map { |row| row[:seen_at] }).to all(be_within(60).of(Time.now))
  end

  it "counts what happens" do
    child = connect("child", &echo)
    parent = connect("parent")
    3.times { parent.send_to_group(content: 1, to: "child") }
    expect(parent.stats).to include(requests: 3, fulfilled: 3, rejected: 0, open_calls: 0)
    eventually { child.stats[:answers_sent] == 3 }
    expect(child.stats).to include(taken: 3, held_requests: 0)
  end

  it "shows no secrets and no content when inspected" do
    stream = connect("child", &echo)
    expect(stream.inspect).to eq("#<RedisIPC::Stream house/child connected>")
    stream.disconnect
    expect(stream.inspect).to eq("#<RedisIPC::Stream house/child not connected>")
  end

  describe "bad input" do
    it "refuses blank names and names that are no strings" do
      [nil, "", "  ", 1, [], Object.new].each do |name|
        expect { described_class.new(name, "group") }.to raise_error(ArgumentError, /stream name/)
        expect { described_class.new("stream", name) }.to raise_error(ArgumentError, /group name/)
      end
    end

    it "refuses a stream whose keys would be another stream's" do
      expect { connect("child", stream: "house:inbox") }.to raise_error(ArgumentError, /share keys/)
    end

    it "refuses invalid handlers" do
      stream = described_class.new("a", "b")
      expect { stream.on_request }.to raise_error(ArgumentError, /block/)
      expect { stream.on_error }.to raise_error(ArgumentError, /block/)
      expect(stream.on_request(&echo).on_error { nil }).to be(stream)
    end

    it "refuses a bad destination or timeout before anything is sent" do
      parent = connect("parent")
      [nil, "", " ", 5].each do |to|
        expect { parent.send_to_group(content: 1, to: to) }.to raise_error(ArgumentError, /group name/)
      end
      [0, -1, "1", Float::NAN, 3601, Complex(1, 1)].each do |timeout|
        expect { parent.send_to_group(content: 1, to: "child", timeout: timeout) }
          .to raise_error(ArgumentError, /timeout/)
      end
      expect(parent.stats).to include(requests: 0)
      expect(redis.exists?("house:inbox:child")).to be(false)
    end

    it "refuses to answer anything but an entry" do
      expect { connect("child").fulfill_request("x", content: 1) }.to raise_error(ArgumentError, /Entry/)
    end

    it "raises NotConnectedError before connect and after disconnect" do
      stream = build("parent")
      sending = -> { stream.send_to_group(content: 1, to: "child") }
      expect(&sending).to raise_error(RedisIPC::NotConnectedError) { |error|
        expect(error).to have_attributes(stream: "house", group: "parent", outcome: :not_sent)
      }
      stream.connect(redis_options: redis_options)
      stream.disconnect
      expect(&sending).to raise_error(RedisIPC::NotConnectedError)
    end

    it "refuses to connect twice" do
      stream = connect("child")
      expect { stream.connect(redis_options: redis_options) }.to raise_error(RedisIPC::ConnectionError, /already/)
      expect(stream).to be_connected
    end

    it "refuses a handler that would never be called" do
      stream = connect("child")
      expect { stream.on_request(&echo) }.to raise_error(RedisIPC::ConnectionError, /before connect/)
    end
  end

  describe "a value that is nil because the request was rejected" do
    let(:log) { StringIO.new }
    let(:logger) { Logger.new(log) }
    let(:line) do
      /DEBUG.*redis_ipc parent: value is nil because child rejected request \h{32}; reason says why, value! raises$/
    end

    before { connect("child") { |entry| reject_request(entry, content: "too secret") } }

    def lines
      log.string.lines.grep(/value is nil/)
    end

    it "is logged at level debug, once for each response, without the reason" do
      parent = connect("parent", logger: logger)
      response = parent.send_to_group(content: 1, to: "child")
      expect([response.content, response.reason, response.fulfilled?]).to eq(["too secret", "too secret", false])
      expect(lines).to eq([])
      expect(Array.new(2) { response.value }).to eq([nil, nil])
      expect(lines).to match([line])
      future = parent.async_send_to_group(content: 1, to: "child")
      expect(Array.new(2) { future.value }).to eq([nil, nil])
      expect(future.then { 1 }.value).to be_nil
      expect(lines).to match([line, line])
      expect(parent.async_send_to_group(content: 1, to: "child").then { 1 }.value).to be_nil
      expect(lines.size).to eq(3)
      expect(log.string).not_to include("secret")
    end

    it "names the class of a handler's exception" do
      connect("raising") { raise IOError, "too secret" }
      connect("parent", logger: logger).send_to_group(content: 1, to: "raising").value
      expect(lines).to match([/raising rejected request \h{32} \(IOError\); /])
    end

    it "is not logged if the answer itself is nil, nor by methods that raise" do
      connect("nothing") { |entry| fulfill_request(entry, content: nil) }
      parent = connect("parent", logger: logger)
      expect(parent.send_to_group(content: 1, to: "nothing").value).to be_nil
      expect { parent.send_to_group(content: 1, to: "child").value! }.to raise_error(RedisIPC::RejectedError)
      expect(lines).to eq([])
    end

    it "needs neither a logger with that level, nor one that works, nor an unfrozen response" do
      silent = Class.new { %i[error warn info].each { |name| define_method(name) { |*| nil } } }.new
      expect(connect("silent", logger: silent).send_to_group(content: 1, to: "child").freeze.value).to be_nil
      allow(logger).to receive(:debug).and_raise(IOError, "closed")
      response = connect("parent", logger: logger).send_to_group(content: 1, to: "child")
      expect { expect(response.value).to be_nil }
        .to output(/value is nil .*the logger raised IOError: closed/).to_stderr
      allow(logger).to receive(:debug).and_call_original
      response = connect("parent", logger: logger).send_to_group(content: 1, to: "child").freeze
      expect(response.value).to be_nil
      expect(lines.size).to eq(1)
    end
  end

  it "may have a name with a NUL in it, and a group" do
    child = connect("ch\0ild", stream: "ho\0use", &echo)
    parent = connect("pa\0rent", stream: "ho\0use")
    expect(parent.send_to_group(content: 1, to: "ch\0ild").value).to eq(1)
    expect(child).to be_connected
    expect(Thread.list.map(&:name)).to include("redis_ipc consumer 1 house/child")
  end

  it "returns its final stats after disconnect, and raises if it was never connected" do
    child = connect("child", &echo)
    parent = connect("parent")
    3.times { parent.send_to_group(content: 1, to: "child") }
    [parent, child].each(&:disconnect)
    expect(parent.stats).to include(requests: 3, fulfilled: 3, open_calls: 0)
    expect(child.stats).to include(taken: 3, answers_sent: 3, held_requests: 0)
    expect { RedisIPC::Stream.new("house", "never").stats }.to raise_error(RedisIPC::NotConnectedError)
  end
end

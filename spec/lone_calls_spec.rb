# frozen_string_literal: true

# A thread that waits alone reads for itself (docs/internals.md): a caller its answer, a consumer its request.
RSpec.describe "calls one by one" do
  let(:parent) { connect("parent") }
  let(:gate) { Queue.new }

  # After a few calls, both sides read for themselves.
  def warm_up(asker = parent, to: "child")
    expect(Array.new(30) { |index| asker.send_to_group(content: index, to: to).value }).to eq((0...30).to_a)
  end

  # Answers at once. Only "slow" waits for the gate.
  def gated
    open = gate
    proc do |entry|
      open.pop if entry.content == "slow"
      fulfill_request(entry, content: entry.content)
    end
  end

  it "get answers read by another caller, by nobody but the stream's own thread, or by themselves" do
    connect("child", consumer: { pool_size: 8 }, &gated)
    warm_up
    50.times do |round|
      slow = Thread.new { parent.send_to_group(content: "slow", to: "child", timeout: 20).value }
      eventually { gate.num_waiting == 1 }
      expect(parent.send_to_group(content: round, to: "child", timeout: 20).value).to eq(round)
      future = parent.async_send_to_group(content: [round], to: "child", timeout: 20)
      told = Queue.new
      future.then { |value| told << value }
      expect(next_of(told)).to eq([round])
      gate << true
      expect(slow.value).to eq("slow")
    end
    expect(parent.stats).to include(open_calls: 0, answers_unmatched: 0)
  end

  it "are answered even if nobody looks for them first" do
    connect("child", consumer: { busy_poll: false }, &echo)
    warm_up(connect("parent", ledger: { busy_poll: false }))
  end

  it "do not delay others when a handler becomes slow" do
    connect("child", &gated)
    warm_up
    slow = parent.async_send_to_group(content: "slow", to: "child", timeout: 20)
    expect(parent.send_to_group(content: 1, to: "child", timeout: 20).value).to eq(1)
    gate << true
    expect(slow.value).to eq("slow")
  end

  it "end by Timeout, Thread#kill and Thread#raise, and the next ones go on" do
    connect("child", consumer: { pool_size: 40 }, &gated)
    20.times do
      warm_up
      call = proc { parent.send_to_group(content: "slow", to: "child", timeout: 20) }
      expect { Timeout.timeout(0.01, &call) }.to raise_error(Timeout::Error)
      thread = Thread.new(&call)
      eventually { parent.stats[:open_calls] == 1 }
      thread.kill.join
      expect(parent.stats).to include(open_calls: 0)
    end
    gate.close
  end

  it "end at their deadline, also after so many that what was read is trimmed, and nothing breaks" do
    connect("child", consumer: { pool_size: 8 }, &gated)
    4.times do
      # At 128 answers the reply stream is trimmed.
      128.times { parent.send_to_group(content: 1, to: "child") }
      call = proc { parent.send_to_group(content: "slow", to: "child", timeout: 0.1) }
      expect(&call).to raise_error(RedisIPC::TimeoutError)
    end
    4.times { gate << true }
    expect(parent.stats).to include(reconnections: 0)
    expect(errors).to be_empty
  end

  it "fail at once when Redis refuses the request" do
    server = start_server
    options = { redis_options: { path: server.path } }
    build("child", &echo).connect(**options)
    parent = build("parent").connect(**options)
    warm_up(parent)
    server.client.call("CONFIG", "SET", "maxmemory", "1")
    took = seconds do
      expect do
        parent.send_to_group(content: 1, to: "child", timeout: 20)
      end.to raise_error(RedisIPC::CommandError, /OOM/)
    end
    expect(took).to be < 5
    server.client.call("CONFIG", "SET", "maxmemory", "0")
    eventually { parent.send_to_group(content: 1, to: "child", timeout: 5).value == 1 }
  end

  it "survive the loss of every connection in the middle" do
    connect("child", consumer: { pool_size: 8 }, &gated)
    5.times do
      warm_up
      slow = Thread.new { parent.send_to_group(content: "slow", to: "child", timeout: 20).value }
      eventually { gate.num_waiting.positive? }
      redis.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
      eventually { streams.all?(&:connected?) }
      # A request that was resent may run twice, and then waits there twice.
      let_in = -> { gate << true if gate.num_waiting.positive? }
      let_in.call until slow.join(0.01)
      gate.clear
      expect(slow.value).to eq("slow")
    end
  end

  it "end when the stream is disconnected" do
    connect("child", &gated)
    warm_up
    slow = Thread.new { parent.send_to_group(content: "slow", to: "child", timeout: 20) }
    slow.report_on_exception = false
    eventually { gate.num_waiting == 1 }
    took = seconds { parent.disconnect }
    expect { slow.value }.to raise_error(RedisIPC::NotConnectedError)
    expect(took).to be < 5
    gate << true
  end

  it "are still served when a consumer that waited for them is killed" do
    connect("child", consumer: { pool_size: 1 }, &echo)
    5.times do
      warm_up
      Thread.list.select { |thread| thread.name.to_s.include?("consumer") }.each(&:kill)
    end
    warm_up
  end

  it "are served by the next consumer if one is killed with a request that it has not begun" do
    child = connect("child", consumer: { pool_size: 1 }, &echo)
    killed = false
    allow(RedisIPC::Entry).to receive(:new).and_wrap_original do |original, *arguments|
      unless killed
        killed = true
        Thread.current.kill
      end
      original.call(*arguments)
    end
    expect(parent.send_to_group(content: 1, to: "child").value).to eq(1)
    expect(killed).to be(true)
    expect(child.stats).to include(taken: 1, held_requests: 0)
  end

  context "when the only consumer becomes busy" do
    # Whether its reader is caught in the middle of a read is a matter of luck, so there are several groups.
    let(:groups) { Array.new(6) { |index| "child #{index}" } }

    # Creates requests in the state in which an instance leaves them that took them, did not start them and gave them
    # back. It uses a script, so that nobody can read them in between.
    def give_back(count, content, group)
      fields = { id: "1", instance_id: "x", status: "pending", content: content.to_json, source_group: "x",
                 destination_group: group, reply_to: "house:replies:x:y", ttl: 20_000 }
      redis.eval(<<~LUA, ["house:inbox:#{group}"], [group, count, *fields.flatten])
        for _ = 1, ARGV[2] do
          local id = redis.call("XADD", KEYS[1], "*", unpack(ARGV, 3))
          redis.call("XREADGROUP", "GROUP", ARGV[1], "gone", "STREAMS", KEYS[1], ">")
          redis.call("XCLAIM", KEYS[1], ARGV[1], "gone", 0, id, "IDLE", 604800000, "RETRYCOUNT", 0, "JUSTID")
        end
      LUA
    end

    def pending(group)
      redis.xpending("house:inbox:#{group}", group)["size"]
    end

    # Keeps consumers busy. What is taken over goes to a consumer that waits for Redis, and has already asked for more.
    def keep_consumers_busy(count)
      groups.each do |group|
        connect(group, consumer: { pool_size: 1 }, &gated)
        warm_up(to: group)
        give_back(count, "slow", group)
      end
      eventually { gate.num_waiting == groups.size }
    end

    # Checks that a new instance gets the remaining requests as first deliveries: they were not started before, and need
    # no lease to run out.
    def expect_left_to_others(already)
      futures = groups.map { |group| parent.async_send_to_group(content: 1, to: group, timeout: 20) }
      eventually { groups.all? { |group| pending(group) == already + 1 } }
      groups.each do |group|
        connect(group) { |entry| fulfill_request(entry, content: ["other", entry.deliveries]) }
      end
      expect(futures.map(&:value)).to all(eq(["other", 1]))
      gate.close
    end

    it "are left to other instances, although it was quick before" do
      keep_consumers_busy(1)
      expect_left_to_others(1)
    end

    it "are left to other instances, although Redis sends what was asked for when there is no more room here" do
      keep_consumers_busy(400)
      expect_left_to_others(400)
    end
  end

  context "over a connection that brings replies in pieces" do
    # The connections of one side go through this server.
    let(:server) { LyingServer.new(RedisServer.shared.path) }

    after { server.stop }

    def connect_by(server, group, &)
      build(group, &).connect(redis_options: { host: "127.0.0.1", port: server.port })
    end

    # Whether the bytes are the reply to a read of the stream at one key.
    def read_from?(key, bytes)
      bytes.start_with?("*1") && bytes.include?(key)
    end

    # Returns a reply in many pieces, with a pause before each.
    def drop_by_drop(bytes, size:, pause:)
      Enumerator.new do |pieces|
        bytes.scan(/.{1,#{size}}/mn) do |piece|
          pieces << piece
          sleep pause
        end
      end
    end

    it "are not delayed by a reply that arrives only in part" do
      connect("child", &gated)
      parent = connect_by(server, "parent")
      warm_up(parent)
      cut = false
      server.lie = lambda do |bytes|
        # This happens once, because the reader reads again afterwards.
        next bytes if cut || !read_from?(":replies:", bytes)

        cut = true
        bytes[0, 30]
      end
      took = seconds do
        # The timeout leaves enough time for the answer, or the part of it, to arrive.
        expect { parent.send_to_group(content: 1, to: "child", timeout: 1) }.to raise_error(RedisIPC::TimeoutError)
      end
      expect(cut).to be(true)
      expect(took).to be < 3
      eventually { parent.connected? }
      warm_up(parent)
    end

    it "end in time if a reply comes drop by drop" do
      connect("child", &echo)
      parent = connect_by(server, "parent")
      ends = [
        [RedisIPC::TimeoutError, -> { parent.send_to_group(content: 1, to: "child", timeout: 1) }],
        [Timeout::Error, -> { Timeout.timeout(1) { parent.send_to_group(content: 1, to: "child", timeout: 20) } }]
      ]
      ends.each do |error, call|
        warm_up(parent)
        slow = false
        server.lie = lambda do |bytes|
          # This happens once, because the reader reads again afterwards.
          next bytes if slow || !read_from?(":replies:", bytes)

          slow = true
          drop_by_drop(bytes, size: 2, pause: 0.05)
        end
        took = seconds { expect(&call).to raise_error(error) }
        expect(slow).to be(true)
        expect(took).to be < 3
        eventually { parent.connected? }
      end
      warm_up(parent)
    end

    it "reach a consumer even if a request takes a while to arrive completely, and nothing breaks" do
      child = connect_by(server, "child", &gated)
      warm_up
      slow = 0
      server.lie = lambda do |bytes|
        next bytes unless read_from?(":inbox:", bytes) && bytes.include?("a while")

        slow += 1
        drop_by_drop(bytes, size: 200, pause: 0.3)
      end
      5.times do
        expect(parent.send_to_group(content: "a while", to: "child", timeout: 20).value).to eq("a while")
        warm_up
      end
      expect(slow).to eq(5)
      expect(child.stats).to include(reconnections: 0, redelivered: 0)
      expect(errors).to be_empty
    end
  end

  it "go on in a child that was forked in the middle, and in its parent" do
    connect("child", consumer: { pool_size: 8 }, &gated)
    warm_up
    slow = Thread.new { parent.send_to_group(content: "slow", to: "child", timeout: 20).value }
    eventually { gate.num_waiting == 1 }
    5.times do
      pid = fork do
        ok = Array.new(20) { |index| parent.send_to_group(content: index, to: "child").value } == (0...20).to_a
        exit!(ok)
      end
      expect(Process.wait2(pid).last).to be_success
    end
    gate << true
    expect(slow.value).to eq("slow")
    warm_up
  end
end

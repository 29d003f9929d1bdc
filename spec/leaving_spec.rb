# frozen_string_literal: true

# What happens to requests when an answering instance leaves in order.
RSpec.describe "an instance that leaves" do
  # This is far below the time after which others would take over what was left (9/10 of a lease of 2 s), and far above
  # a stall of the machine.
  prompt = 1

  # Returns the time in seconds of the slowest call that four threads make while the block runs.
  def slowest(call)
    stop = false
    asking = Array.new(4) do
      Thread.new do
        times = []
        times << seconds(&call) until stop
        times.max
      end
    end
    yield
    stop = true
    asking.map(&:value).max
  end

  describe "a stream" do
    let(:slow_echo) do
      proc do |entry|
        sleep 0.002
        fulfill_request(entry, content: entry.content)
      end
    end

    # Writes a request as a program with a plain Redis client does.
    def put(content, id: SecureRandom.hex(16), ttl: 20_000, **more)
      redis.xadd("house:inbox:child", { id: id, instance_id: "stranger", status: "pending", content: content.to_s,
                                        source_group: "parent", destination_group: "child",
                                        reply_to: "house:replies:parent:stranger", ttl: ttl, **more })
    end

    # Returns an instance with a single thread, which is busy until `gate` opens. It has read `count` further requests
    # ahead.
    def hoarder(gate, count: 3, **options)
      started = Queue.new
      child = connect("child", consumer: { pool_size: 1, lease: 60, **options }) do |entry|
        started << entry
        gate.pop if entry.content == "block"
        fulfill_request(entry, content: 1)
      end
      # The first handlers are quick, otherwise nothing is read ahead.
      asker = connect("parent")
      20.times { asker.send_to_group(content: 0, to: "child") }
      asker.async_send_to_group(content: "block", to: "child", timeout: 50)
      eventually { started.pop.content == "block" }
      [child, Array.new(count) { |number| asker.async_send_to_group(content: number, to: "child", timeout: 20) }]
    end

    def pending
      redis.xpending("house:inbox:child", "child")["size"]
    end

    it "leaves its requests to the others, which answer at once" do
      parent = connect("parent")
      connect("child", &slow_echo)
      3.times do
        leaver = connect("child", &slow_echo)
        call = proc { parent.send_to_group(content: 1, to: "child", timeout: 20).value! }
        asking = Array.new(20) { Thread.new { Array.new(10) { seconds(&call) } } }
        eventually { leaver.stats[:taken] > 5 }
        leaver.disconnect
        expect(asking.flat_map(&:value).max).to be < prompt
        expect(leaver.stats[:held_requests]).to eq(0)
      end
    end

    it "hands what it read ahead to another instance: same id and deadline, first delivery" do
      gate = Queue.new
      child, futures = hoarder(gate)
      eventually { pending == 4 }
      told = Queue.new
      leaving = Thread.new { child.disconnect }
      connect("child", consumer: { lease: 60 }) do |entry|
        told << [entry.id, entry.deliveries, entry.redelivered?, entry.deadline]
        fulfill_request(entry, content: 2)
      end
      expect(futures.map(&:value)).to eq([2, 2, 2])
      rows = Array.new(3) { next_of(told) }
      expect(rows.map { |row| row[1..2] }).to all(eq([1, false]))
      expect(rows.map(&:first)).to match_array(futures.map { |future| future.response.id })
      expect(rows.map(&:last)).to all(be_within(5).of(Time.now + 20))
      gate << true
      leaving.join
      expect(child.stats[:released]).to eq(3)
      eventually { redis.xlen("house:inbox:child").zero? }
    end

    it "leaves waiting requests for the next instance" do
      gate = Queue.new
      child, futures = hoarder(gate)
      eventually { pending == 4 }
      leaving = Thread.new { child.disconnect }
      eventually { child.stats[:released] == 3 }
      gate << true
      leaving.join
      expect(redis.xinfo(:consumers, "house:inbox:child", "child").map { |row| row["pending"] }.sum).to eq(0)
      connect("child", consumer: { lease: 60 }, &slow_echo)
      expect(seconds { futures.each(&:value!) }).to be < prompt
    end

    it "leaves the count of a request that was delivered before to the group" do
      started = Queue.new
      gate = Queue.new
      child = connect("child", consumer: { pool_size: 1, lease: 1 }) { |entry| (started << entry) && gate.pop }
      put(0)
      next_of(started)
      id = put(1)
      redis.xreadgroup("child", "gone", "house:inbox:child", ">")
      redis.call("XCLAIM", "house:inbox:child", "child", child.instance_id, 0, id, "RETRYCOUNT", 3)
      leaving = Thread.new { child.disconnect(timeout: 0) }
      eventually { child.stats[:released] == 1 }
      row = redis.xpending("house:inbox:child", "child", id, id, 1).first
      expect(row).to include("entry_id" => id, "count" => 2)
      expect(row["elapsed"]).to be > 600_000_000
      gate << true
      leaving.join
    end

    it "does not put back what its asker has withdrawn" do
      gate = Queue.new
      child, futures = hoarder(gate, count: 2)
      eventually { pending == 3 }
      withdrawn = redis.xrange("house:inbox:child").find { |_, fields| fields["content"] == "0" }
      redis.xdel("house:inbox:child", withdrawn.first)
      leaving = Thread.new { child.disconnect }
      ran = Queue.new
      connect("child", consumer: { lease: 60 }) { |entry| (ran << entry.content) && fulfill_request(entry, content: 2) }
      futures.last.value!
      expect(next_of(ran)).to eq(1)
      gate << true
      leaving.join
      expect(ran).to be_empty
      expect(redis.xlen("house:inbox:child")).to eq(0)
    end

    it "runs nothing twice with delivery: :at_most_once" do
      runs = Queue.new
      handler = proc do |entry|
        runs << entry.id
        sleep 0.002
        fulfill_request(entry, content: 1)
      end
      parent = connect("parent")
      connect("child", consumer: { delivery: :at_most_once }, &handler)
      leaver = connect("child", consumer: { delivery: :at_most_once }, &handler)
      call = proc { parent.send_to_group(content: 1, to: "child", timeout: 20).value! }
      asking = Array.new(20) { Thread.new { Array.new(10) { seconds(&call) } } }
      eventually { leaver.stats[:taken] > 5 }
      leaver.disconnect
      expect(asking.flat_map(&:value).max).to be < prompt
      expect(runs.size).to eq(200)
      expect(Array.new(200) { runs.pop }.uniq.size).to eq(200)
    end

    it "leaves nothing to a lease, even if requests come while it leaves" do
      parent = connect("parent")
      connect("child", &echo)
      call = proc { parent.send_to_group(content: 1, to: "child", timeout: 20).value! }
      expect(slowest(call) { 10.times { connect("child", &echo).disconnect } }).to be < prompt
    end
  end

  describe "a handler that answers later" do
    # Returns a child whose handler leaves its entries to the example.
    def postponing(**options)
      taken = Queue.new
      [connect("child", **options) { |entry| taken << entry }, taken]
    end

    it "is waited for" do
      child, taken = postponing
      future = connect("parent").async_send_to_group(content: 1, to: "child")
      entry = next_of(taken)
      leaving = Thread.new { child.disconnect }
      eventually { !child.connected? }
      expect(leaving.join(0.1)).to be_nil
      expect(child.fulfill_request(entry, content: "late, but there")).to be(true)
      expect(future.value).to eq("late, but there")
      leaving.join
      expect(child.stats).to include(answers_sent: 1, answers_dropped: 0, held_requests: 0)
    end

    it "is not waited for longer than the timeout: another instance gets the request at once, as redelivered" do
      child, taken = postponing(consumer: { lease: 60 })
      future = connect("parent").async_send_to_group(content: 1, to: "child", timeout: 20)
      entry = next_of(taken)
      connect("child", consumer: { lease: 60 }) { |again| fulfill_request(again, content: again.redelivered?) }
      expect(seconds { child.disconnect(timeout: 0.2) }).to be_between(0.19, 2)
      expect(future.value).to be(true)
      expect { child.fulfill_request(entry, content: 1) }
        .to raise_error(RedisIPC::NotConnectedError, /dropped.*disconnected.*house.*child/)
      expect(child.stats).to include(answers_sent: 0, answers_dropped: 1, released: 1)
    end

    it "gets an error, and not success, when it answers after disconnect" do
      child, taken = postponing
      connect("parent").async_send_to_group(content: 1, to: "child")
      entry = next_of(taken)
      child.disconnect(timeout: 0)
      2.times { expect { child.fulfill_request(entry, content: 1) }.to raise_error(RedisIPC::NotConnectedError) }
      expect { child.reject_request(entry, content: 1) }.to raise_error(RedisIPC::NotConnectedError)
      expect(child.stats[:answers_dropped]).to eq(3)
    end

    it "is reported to on_error if it was still running" do
      started = Queue.new
      gate = Queue.new
      child = connect("child") do |entry|
        started << entry
        gate.pop
        fulfill_request(entry, content: 1)
      end
      connect("parent").async_send_to_group(content: 1, to: "child")
      next_of(started)
      child.disconnect(timeout: 0)
      gate << true
      expect(next_of(errors)).to be_a(RedisIPC::NotConnectedError)
      expect(errors).to be_empty
    end

    it "is lost with delivery: :at_most_once, which is reported to on_error" do
      child, taken = postponing(consumer: { delivery: :at_most_once })
      connect("parent").async_send_to_group(content: 1, to: "child")
      entry = next_of(taken)
      child.disconnect(timeout: 0)
      error = next_of(errors)
      expect(error).to be_a(RedisIPC::UnansweredError).and have_attributes(entry_id: entry.redis_id)
      expect(child.stats).to include(unanswered: 1, released: 0)
    end

    it "may also reject, at the last moment" do
      child, taken = postponing
      future = connect("parent").async_send_to_group(content: 1, to: "child")
      entry = next_of(taken)
      leaving = Thread.new { child.disconnect }
      eventually { !child.connected? }
      expect(child.reject_request(entry, content: "no")).to be(true)
      expect(future.response).to be_rejected
      leaving.join
    end
  end

  %i[at_least_once at_most_once].each do |guarantee|
    it "a JSON-RPC server (#{guarantee}) leaves its requests to the others, which answer at once" do
      client = rpc_client
      handler = proc do |server|
        server.on("run") do
          sleep 0.002
          1
        end
      end
      rpc_server(guarantee: guarantee, &handler)
      5.times do
        leaver = rpc_server(guarantee: guarantee, &handler)
        asking = Array.new(20) { Thread.new { Array.new(5) { seconds { client.call("run", timeout: 20) } } } }
        eventually { leaver.stats[:taken] > 3 }
        leaver.disconnect
        expect(asking.flat_map(&:value).max).to be < prompt
      end
    end

    it "a JSON-RPC server (#{guarantee}) leaves nothing to a lease, even if requests come while it leaves" do
      client = rpc_client
      handler = proc { |server| server.on("run") { 1 } }
      rpc_server(guarantee: guarantee, &handler)
      call = proc { client.call("run", timeout: 20) }
      leaving = proc { 10.times { rpc_server(guarantee: guarantee, &handler).disconnect } }
      expect(slowest(call, &leaving)).to be < prompt
      expect(redis.keys("calculator:processing:*").sum { |key| redis.llen(key) }).to eq(0)
    end
  end
end

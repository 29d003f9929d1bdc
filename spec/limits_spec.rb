# frozen_string_literal: true

# Redis closes a connection over what one client sends or reads. The other calls must not suffer from it.
RSpec.describe "a limit of the server" do
  let(:settings) { {} }
  let(:server) { start_server(**settings) }
  let(:redis_options) { { url: server.url, connect_timeout: 5 } }

  # Answers with as many bytes as it is asked for; keeps its own answers apart from the others'.
  def sized
    proc { |entry| fulfill_request(entry, content: "x" * entry.content) }
  end

  def told
    Array.new(errors.size) { errors.pop }
  end

  def messages
    told.map(&:message)
  end

  # Calls in a row until the block's call has ended: how many were answered, and how many not.
  def meanwhile(&call)
    results = Hash.new(0)
    caller = Thread.new(&call)
    caller.report_on_exception = false
    results[attempt_call] += 1 while caller.alive? || results.values.sum < 20
    [caller, results]
  end

  shared_examples "what is too big to write" do
    it "rejects an answer that Redis does not take, and all other calls go on" do
      serving = connect("child", consumer: { pool_size: 3 }, &sized)
      asking = connect("parent")
      define_singleton_method(:attempt_call) do
        asking.send_to_group(content: 10, to: "child", timeout: 5).value == "x" * 10
      rescue RedisIPC::Error => e
        e.class
      end
      took = nil
      caller, results = meanwhile do
        started = now
        asking.send_to_group(content: 2_000_000, to: "child", timeout: 20).tap { took = now - started }
      end
      expect(caller.value).to be_rejected
      expect(caller.value.error).to eq("RedisIPC::CommandError")
      expect(caller.value.content).to match(limit).and match(/2000002 bytes/)
      expect(took).to be < 10
      expect(results.keys).to eq([true])
      eventually { messages.grep(limit).any? }
      expect(serving.stats).to include(answers_dropped: 1, held_requests: 0)
      expect(serving).to be_connected
    end

    it "fails a call whose request Redis does not take, and all other calls go on" do
      connect("child", &echo)
      asking = connect("parent")
      define_singleton_method(:attempt_call) do
        asking.send_to_group(content: 1, to: "child", timeout: 5).value == 1
      rescue RedisIPC::Error => e
        e.class
      end
      took = nil
      caller, results = meanwhile do
        started = now
        asking.send_to_group(content: "x" * 1_100_000, to: "child", timeout: 20)
      ensure
        took = now - started
      end
      expect { caller.value }.to raise_error(RedisIPC::CommandError, limit) { |error|
        expect(error.message).to match(/1100002 bytes/)
        expect(outcomes).to include(error.outcome)
      }
      expect(took).to be < 10
      expect(results.keys).to eq([true])
      expect(asking.stats).to include(failed: 1, open_calls: 0)
    end

    it "fails a JSON-RPC request that Redis does not take, and other calls go on" do
      rpc_server { |it| it.on("size", &:size) }
      client = rpc_client
      define_singleton_method(:attempt_call) do
        client.call("size", "abc", timeout: 5) == 3
      rescue RedisIPC::Error, RedisIPC::JSONRPC::Error => e
        e.class
      end
      caller, results = meanwhile { client.call("size", "x" * 1_100_000, timeout: rpc_timeout) }
      expect { caller.value }.to raise_error(rpc_failure)
      expect(results.keys).to eq([true])
    end

    it "answers a JSON-RPC call with an error if Redis does not take the answer, and other calls go on" do
      rpc_server { |it| it.on("give") { |size| "x" * size } }
      client = rpc_client
      define_singleton_method(:attempt_call) do
        client.call("give", 10, timeout: 5) == "x" * 10
      rescue RedisIPC::Error, RedisIPC::JSONRPC::Error => e
        e.class
      end
      caller, results = meanwhile { client.call("give", 2_000_000, timeout: 20) }
      expect { caller.value }.to raise_error(RedisIPC::JSONRPC::Error, limit)
      expect(results.keys).to eq([true])
      eventually { messages.grep(limit).any? }
    end
  end

  context "proto-max-bulk-len" do
    let(:settings) { { proto_max_bulk_len: "1mb" } }
    let(:limit) { /proto-max-bulk-len/ }
    let(:outcomes) { [:not_sent] }
    let(:rpc_timeout) { 20 }
    let(:rpc_failure) { RedisIPC::CommandError }

    include_examples "what is too big to write"
  end

  context "client-query-buffer-limit" do
    let(:settings) { { client_query_buffer_limit: "1mb" } }
    let(:limit) { /client-query-buffer-limit/ }
    let(:outcomes) { %i[not_sent unknown] }
    let(:rpc_timeout) { 5 }
    let(:rpc_failure) { RedisIPC::Error }

    include_examples "what is too big to write"
  end

  context "client-output-buffer-limit" do
    let(:settings) { { client_output_buffer_limit: "normal 4mb 4mb 0" } }

    # Answers by hand, all at once: a read that waits gets all of them.
    def answer_together(count, size)
      inbox = "house:inbox:child"
      eventually { server.client.xlen(inbox) == count }
      requests = server.client.xrange(inbox).map(&:last)
      server.client.multi do |transaction|
        requests.each { |request| transaction.xadd(request["reply_to"], answer_to(request, size)) }
      end
    end

    def answer_to(request, size)
      { "id" => request["id"], "instance_id" => "1" * 32, "status" => "fulfilled", "content" => %("#{"x" * size}"),
        "source_group" => "child", "destination_group" => request["source_group"] }
    end

    it "is not met by 12 answers of 1 MB: all arrive" do
      asking = connect("parent")
      futures = Array.new(12) { asking.async_send_to_group(content: 1, to: "child", timeout: 20) }
      answer_together(12, 1_000_000)
      expect(futures.map { |future| future.value&.size }).to eq([1_000_000] * 12)
      eventually { asking.connected? }
      expect(asking.stats).to include(fulfilled: 12, malformed: 0)
      expect(asking.stats[:reconnections]).to be < 12
    end

    it "is met by one of several answers: it is skipped, and the others arrive" do
      asking = connect("parent")
      futures = Array.new(3) { asking.async_send_to_group(content: 1, to: "child", timeout: 10) }
      eventually { server.client.xlen("house:inbox:child") == 3 }
      requests = server.client.xrange("house:inbox:child").map(&:last).to_h { |it| [it["id"], it] }
      sizes = [10, 5_000_000, 20]
      server.client.multi do |transaction|
        requests.values.zip(sizes) { |request, size| transaction.xadd(request["reply_to"], answer_to(request, size)) }
      end
      expect([futures.first.value.size, futures.last.value.size]).to eq([10, 20])
      expect(futures[1].wait(0)).to be(false)
      eventually { asking.connected? }
      # What is told to on_error comes in its own time.
      eventually { messages.grep(/an answer cannot be read and was skipped/).any? }
      expect(server.client.xinfo(:groups, server.client.keys("house:replies:*").first)).to eq([])
    end

    it "is not met by 16 requests of 1 MB that waited: all are answered" do
      asking = connect("parent", ledger: { max_timeout: 60 })
      gate = Queue.new
      serving = connect("child", consumer: { pool_size: 16 }) do |entry|
        gate.pop if entry.content == "hold"
        fulfill_request(entry, content: entry.content.size)
      end
      held = Array.new(16) { asking.async_send_to_group(content: "hold", to: "child", timeout: 30) }
      eventually { gate.num_waiting == 16 }
      futures = Array.new(16) { asking.async_send_to_group(content: "x" * 1_000_000, to: "child", timeout: 30) }
      eventually { server.client.xlen("house:inbox:child") == 32 }
      16.times { gate << true }
      expect(futures.map(&:value)).to eq([1_000_000] * 16)
      expect(held.map(&:value)).to eq([4] * 16)
      expect(serving.stats).to include(dead_lettered: 0, held_requests: 0)
    end

    it "is met by one request: it becomes a dead letter, and the others are answered" do
      asking = connect("parent")
      serving = connect("child", &echo)
      large = asking.async_send_to_group(content: "x" * 5_000_000, to: "child", timeout: 15)
      error = nil
      eventually(timeout: 15) { (error = told.grep(RedisIPC::DeadLetteredError).first) }
      expect(error.message).to match(/cannot be read/).and match(/client-output-buffer-limit/)
      expect(asking.send_to_group(content: 1, to: "child").value).to eq(1)
      expect(serving.stats).to include(dead_lettered: 1)
      expect(server.client.xlen("house:inbox:child")).to eq(0)
      expect(server.client.xpending("house:inbox:child", "child")["size"]).to eq(0)
      expect(large.wait(0)).to be(false)
    end

    it "is met by one answer: its asker hears of it before its deadline, and other calls go on" do
      connect("child", &sized)
      asking = connect("parent")
      started = now
      expect { asking.send_to_group(content: 5_000_000, to: "child", timeout: 20) }
        .to raise_error(RedisIPC::MalformedEntryError, /cannot be read/)
      expect(now - started).to be < 15
      expect(asking.send_to_group(content: 10, to: "child").value).to eq("x" * 10)
      eventually { asking.connected? }
    end

    # Takes the requests by hand and answers all of them at once.
    def answer_calls(sizes)
      eventually { server.client.llen("calculator") == sizes.size }
      requests = server.client.lrange("calculator", 0, -1).reverse.map { |text| JSON.parse(text) }
      server.client.multi do |transaction|
        requests.zip(sizes) do |request, size|
          answer = JSON.generate("jsonrpc" => "2.0", "result" => "x" * size, "id" => request["id"])
          transaction.lpush(request["reply_to"], answer)
        end
      end
    end

    it "is not met by 12 JSON-RPC answers of 1 MB: all arrive" do
      client = rpc_client
      threads = Array.new(12) { Thread.new { client.call("give", timeout: 20).size } }
      answer_calls([1_000_000] * 12)
      expect(threads.map(&:value)).to eq([1_000_000] * 12)
      eventually { client.connected? }
      expect(client.stats[:answers_unmatched]).to eq(0)
    end

    it "is met by one JSON-RPC answer: its asker hears of it before its deadline, and other calls go on" do
      client = rpc_client
      thread = Thread.new { client.call("give", timeout: 20) }
      thread.report_on_exception = false
      answer_calls([5_000_000])
      expect { thread.value }.to raise_error(RedisIPC::MalformedEntryError, /cannot be read/)
      server.client.del("calculator")
      thread = Thread.new { client.call("give", timeout: 20).size }
      answer_calls([10])
      expect(thread.value).to eq(10)
    end

    it "is met by one JSON-RPC request: it becomes a dead letter, and the others are answered" do
      ran = Queue.new
      rpc_server { |it| it.on("size") { |text| text.size.tap { |size| ran << size } } }
      client = rpc_client
      large = Thread.new { client.call("size", "x" * 5_000_000, timeout: 15) }
      large.report_on_exception = false
      eventually(timeout: 20) { server.client.llen("calculator:dead") == 1 }
      expect(client.call("size", "abc", timeout: 10)).to eq(3)
      expect(ran.size).to eq(1)
      eventually { told.grep(RedisIPC::DeadLetteredError).any? }
      expect { large.value }.to raise_error(RedisIPC::TimeoutError)
    end

    it "is met by a JSON-RPC request behind a small one that still runs" do
      release = Queue.new
      client = rpc_client
      small = Thread.new { client.call("size", "abc", timeout: 30) }
      eventually { server.client.llen("calculator") == 1 }
      large = Thread.new { client.call("size", "x" * 5_000_000, timeout: 15) }
      large.report_on_exception = false
      eventually { server.client.llen("calculator") == 2 }
      rpc_server do |it|
        it.on("size") do |text|
          release.pop if text == "abc"
          text.size
        end
      end
      eventually(timeout: 20) { server.client.llen("calculator:dead") == 1 }
      expect(client.call("size", "abcd", timeout: 10)).to eq(4)
      release << true
      expect(small.value).to eq(3)
      expect { large.value }.to raise_error(RedisIPC::TimeoutError)
    end

    it "is not met by 16 JSON-RPC requests of 1 MB: all are answered" do
      client = rpc_client
      threads = Array.new(16) { Thread.new { client.call("size", "x" * 1_000_000, timeout: 30) } }
      eventually { server.client.llen("calculator") == 16 }
      gate = Queue.new
      rpc_server(threads: 16) do |it|
        it.on("size") do |text|
          gate.pop
          text.size
        end
      end
      16.times { gate << true }
      expect(threads.map(&:value)).to eq([1_000_000] * 16)
    end

    it "is not met by what a JSON-RPC server holds when its connection breaks" do
      release = Queue.new
      ran = Queue.new
      rpc_server(threads: 8) do |it|
        it.on("size") do |text|
          ran << text.size
          release.pop
          text.size
        end
      end
      client = rpc_client
      threads = Array.new(8) { Thread.new { client.call("size", "x" * 1_000_000, timeout: 30) } }
      8.times { next_of(ran) }
      server.client.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
      8.times { release << true }
      expect(threads.map(&:value)).to eq([1_000_000] * 8)
      expect(client.call("size", "abc", timeout: 10).tap { release << true }).to eq(3) if release << true
      expect(ran.size).to be <= 1
    end
  end

  context "maxmemory-clients" do
    let(:settings) { { maxmemory_clients: "4mb" } }

    it "ends the call whose request costs the connection, and small calls go on" do
      connect("child", &echo)
      asking = connect("parent")
      expect { asking.send_to_group(content: "x" * 8_000_000, to: "child", timeout: 10) }
        .to raise_error(RedisIPC::CommandError, /8000002 bytes/)
      expect(asking.send_to_group(content: 1, to: "child").value).to eq(1)
    end
  end

  describe "a limit of the gem (values in one reply)" do
    # More than the gem accepts in one reply; written by hand, as Ruby is slow at it.
    def add_too_many_fields(inbox)
      say("*4400003\r\n$4\r\nXADD\r\n$#{inbox.size}\r\n#{inbox}\r\n$1\r\n*\r\n#{"$0\r\n\r\n" * 4_400_000}")
    end

    # The beginning of what Redis says to that; the rest stays unread.
    def say(bytes)
      UNIXSocket.open(server.path) do |socket|
        socket.write(bytes)
        socket.gets
      end
    end

    # Redis itself needs seconds to write such a reply, several times.
    it "is met by an entry of a stranger: it becomes a dead letter, others are answered", timeout: 150 do
      asking = connect("parent")
      serving = connect("child", consumer: { lease: 0.5 }, &echo)
      expect(asking.send_to_group(content: 1, to: "child").value).to eq(1)
      add_too_many_fields("house:inbox:child")
      error = nil
      eventually(timeout: 120) { (error = told.grep(RedisIPC::DeadLetteredError).first) }
      expect(error.message).to match(/cannot be read/)
      expect(asking.send_to_group(content: 2, to: "child").value).to eq(2)
      expect(serving.stats).to include(dead_lettered: 1)
      expect(server.client.xpending("house:inbox:child", "child")["size"]).to eq(0)
    end
  end

  describe "what Redis says before it closes the connection" do
    it "is shown where it takes no more clients" do
      server.client.call("CONFIG", "SET", "maxclients", "1")
      expect { build("parent").connect(redis_options: redis_options) }
        .to raise_error(RedisIPC::ConnectionError, /max number of clients reached/)
      expect { rpc_client }.to raise_error(RedisIPC::ConnectionError, /max number of clients reached/)
    end

    it "is shown where it turns strangers away" do
      address = Socket.ip_address_list.find { |it| it.ipv4? && !it.ipv4_loopback? }
      skip "this machine has no address but 127.0.0.1" unless address
      open = start_server(bind: "* -::*", protected_mode: "yes")
      expect { build("parent").connect(redis_options: { host: address.ip_address, port: open.port }) }
        .to raise_error(RedisIPC::ConnectionError, /DENIED Redis is running in protected mode/)
    end
  end
end

# frozen_string_literal: true

# Redis closes a connection because of what one client sends or reads. The other calls must not suffer from it.
RSpec.describe "a limit of the server" do
  let(:settings) { {} }
  let(:server) { start_server(**settings) }
  let(:redis_options) { { url: server.url, connect_timeout: 5, read_timeout: 15 } }

  # Returns a handler that answers with as many bytes as the request asks for.
  def sized
    proc { |entry| fulfill_request(entry, content: "x" * entry.content) }
  end

  def told
    Array.new(errors.size) { errors.pop }
  end

  def messages
    told.map(&:message)
  end

  # Delivers what waits for the group to a dead instance, an hour ago. It uses a script, because no reply could hold all
  # of it.
  def take_by_script
    script = <<~LUA
      for _, entry in ipairs(redis.call('XREADGROUP', 'GROUP', 'child', 'gone', 'STREAMS', KEYS[1], '>')[1][2]) do
        redis.call('XCLAIM', KEYS[1], 'child', 'gone', 0, entry[1], 'IDLE', 3600000, 'JUSTID')
      end
    LUA
    server.client.eval(script, keys: ["house:inbox:child"])
  end

  # Makes calls in a row until the block's call has ended. Returns how many were answered, and how many were not.
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

    # Answers by hand, all at once, so that a waiting read gets all answers together.
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

    it "is not exceeded by 12 answers of 1 MB: all arrive" do
      asking = connect("parent")
      futures = Array.new(12) { asking.async_send_to_group(content: 1, to: "child", timeout: 20) }
      answer_together(12, 1_000_000)
      expect(futures.map { |future| future.value&.size }).to eq([1_000_000] * 12)
      eventually { asking.connected? }
      expect(asking.stats).to include(fulfilled: 12, malformed: 0)
      expect(asking.stats[:reconnections]).to be < 12
    end

    it "is exceeded by one of several answers: it is skipped, and the others arrive" do
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
      # on_error is called by another thread, a little later.
      eventually { messages.grep(/an answer cannot be read and was skipped/).any? }
      expect(server.client.xinfo(:groups, server.client.keys("house:replies:*").first)).to eq([])
    end

    it "is not exceeded by 16 waiting requests of 1 MB: all are answered" do
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

    it "is exceeded by one request: it becomes a dead letter, and the others are answered" do
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

    # Leaves requests of a dead instance. The second one cannot be read.
    def abandon(asking)
      inbox = "house:inbox:child"
      server.client.xgroup(:create, inbox, "child", "0", mkstream: true)
      futures = [1, "x" * 5_000_000, 3].map do |content|
        asking.async_send_to_group(content: content, to: "child", timeout: 15)
      end
      eventually { server.client.xlen(inbox) == 3 }
      take_by_script
      futures
    end

    it "does not keep requests from running that are taken over beside such a one" do
      futures = abandon(connect("parent"))
      serving = connect("child", consumer: { lease: 0.3 }, &echo)
      expect([futures[0].value, futures[2].value]).to eq([1, 3])
      eventually { told.grep(RedisIPC::DeadLetteredError).any? }
      expect(serving.stats).to include(dead_lettered: 1, redelivered: 2)
      expect(server.client.xrange("house:dead:child").first.last).to include("dead_deliveries" => "2")
      eventually { server.client.xlen("house:inbox:child").zero? }
    end

    it "is exceeded by one answer: its asker gets an error before its deadline, and other calls go on" do
      connect("child", &sized)
      asking = connect("parent")
      started = now
      expect { asking.send_to_group(content: 5_000_000, to: "child", timeout: 20) }
        .to raise_error(RedisIPC::MalformedEntryError, /cannot be read/)
      expect(now - started).to be < 15
      expect(asking.send_to_group(content: 10, to: "child").value).to eq("x" * 10)
      eventually { asking.connected? }
    end

    uncounted = "this server counts no large element of a list towards the limit (Redis 8.6, Valkey 9.1)"

    # Whether the server closes the connection when so large an element of a list is moved.
    def counts_elements?
      server.client.lpush("large", "x" * 5_000_000)
      !server.client.call("BLMOVE", "large", "taken", "LEFT", "LEFT", 0.1)
    rescue Redis::BaseConnectionError
      true
    ensure
      server.client.del("large", "taken")
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

    it "is not exceeded by 12 JSON-RPC answers of 1 MB: all arrive" do
      client = rpc_client
      threads = Array.new(12) { Thread.new { client.call("give", timeout: 20).size } }
      answer_calls([1_000_000] * 12)
      expect(threads.map(&:value)).to eq([1_000_000] * 12)
      eventually { client.connected? }
      expect(client.stats[:answers_unmatched]).to eq(0)
    end

    it "is exceeded by one JSON-RPC answer: its asker gets an error before its deadline, and other calls go on" do
      skip uncounted unless counts_elements?
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

    it "is exceeded by one JSON-RPC request: it becomes a dead letter, and the others are answered" do
      skip uncounted unless counts_elements?
      ran = Queue.new
      rpc_server { |it| it.on("size") { |text| text.size.tap { |size| ran << size } } }
      client = rpc_client
      large = Thread.new { client.call("size", "x" * 5_000_000, timeout: 4) }
      large.report_on_exception = false
      eventually(timeout: 20) { server.client.llen("calculator:dead") == 1 }
      expect(client.call("size", "abc", timeout: 10)).to eq(3)
      expect(ran.size).to eq(1)
      eventually { told.grep(RedisIPC::DeadLetteredError).any? }
      expect { large.value }.to raise_error(RedisIPC::TimeoutError)
    end

    it "is exceeded by a JSON-RPC request behind a small one that still runs" do
      skip uncounted unless counts_elements?
      release = Queue.new
      client = rpc_client
      small = Thread.new { client.call("size", "abc", timeout: 30) }
      eventually { server.client.llen("calculator") == 1 }
      large = Thread.new { client.call("size", "x" * 5_000_000, timeout: 4) }
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

    it "is not exceeded by 16 JSON-RPC requests of 1 MB: all are answered" do
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

    it "is not exceeded by what a JSON-RPC server holds when its connection breaks" do
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

  describe "max_content_size" do
    let(:inbox) { "house:inbox:child" }

    # Returns by how much the memory of this process rises at most during the block, in KiB.
    def rise
      # Resets the peak.
      File.write("/proc/self/clear_refs", "5")
      before = peak
      yield
      peak - before
    end

    def peak
      File.read("/proc/self/status")[/VmHWM:\s+(\d+)/, 1].to_i
    end

    # This builds the command by hand, because redis-rb is slow at it.
    def add_fields(count)
      UNIXSocket.open(server.path) do |socket|
        socket.write("*#{3 + (2 * count)}\r\n$4\r\nXADD\r\n$#{inbox.size}\r\n#{inbox}\r\n$1\r\n*\r\n")
        socket.write("$0\r\n\r\n" * 2 * count)
        socket.gets
      end
    end

    # Adds an entry with large content, which Redis generates, so that this process needs no memory for it.
    def add_large(key, size, fields)
      content = "string.rep(string.rep('x', 1000), ARGV[1])"
      script = "return redis.call('XADD', KEYS[1], '*', 'content', #{content}, unpack(ARGV, 2))"
      server.client.eval(script, keys: [key], argv: [size / 1000, *fields.flatten])
    end

    # Adds such an entry that names an asker.
    def add_large_request(reply_to, size, key: inbox)
      add_large(key, size, "id" => "7", "instance_id" => "i", "status" => "pending", "source_group" => "parent",
                           "destination_group" => "child", "reply_to" => reply_to, "ttl" => "60000")
    end

    # A test of the core (resp/decode.rs) checks that an entry may have more fields than a reply may have values.
    it "does not let an entry of 200,000 fields stop a group: it is skipped at once" do
      serving = connect("child", &echo)
      asking = connect("parent")
      add_fields(200_000)
      error = next_of(errors)
      expect(error).to be_a(RedisIPC::MalformedEntryError).and have_attributes(message: /more than 64 fields/)
      expect(asking.send_to_group(content: 2, to: "child").value).to eq(2)
      expect(serving.stats).to include(dead_lettered: 1, malformed: 1, reconnections: 0, held_requests: 0)
      eventually { server.client.xlen(inbox).zero? }
      expect(server.client.xrange("house:dead:child").first.last).to include("dead_deliveries" => "1")
    end

    it "bounds the memory that reading takes, and askers get an error" do
      serving = connect("child", max_content_size: 1_000, &echo)
      connect("parent")
      reply_to = server.client.keys("house:replies:parent:*").first
      error = nil
      risen = rise do
        add_large_request(reply_to, 40_000_000)
        error = next_of(errors)
      end
      expect(risen).to be < 10_000
      expect(error).to be_a(RedisIPC::MalformedEntryError).and have_attributes(message: /40000\d{3} bytes/)
      expect(serving.stats).to include(dead_lettered: 1, reconnections: 0)
      kept = server.client.xrange("house:dead:child").first.last
      expect(kept["content"].size).to be < 10_000
      expect(kept).to include("reply_to" => reply_to)
      eventually { streams.last.stats[:answers_unmatched] == 1 }
    end

    it "bounds what is read of an answer, whose call it ends" do
      asking = connect("parent", max_content_size: 1_000)
      future = asking.async_send_to_group(content: 1, to: "child")
      _, request = eventually { server.client.xrange(inbox).first }
      add_large(request["reply_to"], 5_000_000, "id" => request["id"], "instance_id" => "i", "status" => "fulfilled",
                                                "source_group" => "child", "destination_group" => "parent")
      expect { future.value }.to raise_error(RedisIPC::MalformedEntryError, /5000\d{3} bytes/)
      expect(asking.stats).to include(malformed: 1, reconnections: 0)
    end

    it "bounds what a takeover and a list of dead letters read" do
      server.client.xgroup(:create, inbox, "child", "0", mkstream: true)
      ids = [5_000_000, 0].map { |size| add_large_request("house:replies:parent:x", size) }
      take_by_script
      serving = connect("child", max_content_size: 1_000, consumer: { lease: 0.2 }, &echo)
      expect(Array.new(2) { next_of(errors) }.map(&:entry_id)).to match_array(ids)
      add_large_request("house:replies:parent:x", 5_000_000, key: "house:dead:child")
      letters = serving.dead_letters.to_a
      expect(letters.map { |letter| letter.raw_content.size }).to all(be < 10_000)
      expect(letters.map(&:deliveries)).to eq([2, 2, nil])
      expect { letters.last.retry }.to raise_error(RedisIPC::MalformedEntryError, /only be discarded/)
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
        .to raise_error(RedisIPC::ConnectionError, /DENIED .*protected mode/)
    end
  end
end

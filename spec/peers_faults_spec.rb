# frozen_string_literal: true

require "digest"

# The examples in other languages when connections break, Redis is down, or other clients send invalid data.
RSpec.describe "peers in other languages, when things go wrong", timeout: 120 do
  include PeerProcesses

  # The packages are installed once, before the time limit of an example begins.
  before(:all) do
    PeerPackages.python
    PeerPackages.node
    @oldest_python = PeerPackages.oldest_python&.then { |name| PeerPackages.python(name) }
  end

  # JSON texts that not every peer can read, or that are invalid: half a surrogate pair, a number that becomes Infinity,
  # one with too many digits, too deep nesting.
  unreadable = ['"\ud83d"', '"a\udc00"', "1e400", "1#{"0" * 4200}", "#{"[" * 99}#{"]" * 99}"].freeze
  readable = [2**53, (2**53) + 1, -(10**300), 1.5, "\u{1F389} \\ud800 \" \\", "[" * 500, [], {}, [[], {}, ":,"]].freeze

  # Closes all client connections, several times.
  def kill_connections(server, times: 5)
    times.times do
      server.client.client(:kill, "TYPE", "normal", "SKIPME", "yes")
      eventually { server.client.client(:list).count { |client| client["cmd"] != "client|list" }.positive? }
    end
  end

  # Stops Redis and turns connection attempts away. Returns how long this many attempts took.
  def outage(server, tries:)
    server.kill
    listener = TCPServer.new("127.0.0.1", server.port)
    seconds { tries.times { Timeout.timeout(30) { listener.accept.close } } }
  ensure
    listener&.close
    server.start
  end

  %w[python node].each do |language|
    describe "a JSON-RPC client in #{language}" do
      # Answers on the reply list by hand. The block makes the texts.
      def answer_by_hand
        request = JSON.parse(redis.brpop("calculator", timeout: 10).last)
        yield(request).each { |text| redis.lpush(request["reply_to"], text) }
      end

      it "does not send a call again whose confirmation got lost" do
        runs = Queue.new
        rpc_server(guarantee: :at_most_once, threads: 1) do |server|
          server.on("echo") { |value| value.tap { runs << value } }
        end
        proxy = lossy
        client = peer(language, "json_rpc_demo", "calculator", redis_url: proxy.url)
        proxy.lose_reply_to("lpush")
        expect(ask(client, method: "echo", params: [1], timeout: 10)).to eq("value" => 1)
        next_of(proxy.lost)
        # This request is served after all previous ones.
        expect(ask(client, method: "echo", params: [2], timeout: 10)).to eq("value" => 2)
        expect(Array.new(runs.size) { runs.pop }).to eq([1, 2])
      end

      it "refuses what others could not read, and sends nothing" do
        client = peer(language, "json_rpc_demo", "calculator")
        unreadable.each do |text|
          client.puts(%({"method":"echo","params":[#{text}],"timeout":10}))
          expect(answer(client).keys).to eq(["refused"])
        end
        expect(redis.exists("calculator")).to eq(0)
      end

      it "handles all kinds of answers" do
        client = peer(language, "json_rpc_demo", "calculator")
        call = lambda do |&block|
          client.puts('{"method":"echo","params":[1],"timeout":10}')
          answer_by_hand(&block)
          answer(client)
        end
        expect(call.call { |request| [JSON.generate(jsonrpc: "2.0", result: 1, error: nil, id: request["id"])] })
          .to eq("value" => 1)
        expect(call.call { |request| [JSON.generate(jsonrpc: "2.0", result: nil, id: request["id"])] })
          .to eq("value" => nil)
        foreign = ["{broken", "null", "5", "[1]", "\xFF".b, '{"id":null}', '{"id":[1]}', '{"id":"other","result":2}']
        expect(call.call { |request| foreign + [JSON.generate(jsonrpc: "2.0", result: 3, id: request["id"])] })
          .to eq("value" => 3)
        # The error must come at once, not at the deadline.
        [{}, { error: nil }, { error: 5 }, { error: {} }, { error: { code: "1", message: "a" } }].each do |content|
          answer = call.call { |request| [JSON.generate(jsonrpc: "2.0", id: request["id"], **content)] }
          expect(answer.keys).to eq(["refused"])
        end
        expect(call.call { |request| [%({"jsonrpc":"2.0","result":"\\ud800","id":"#{request["id"]}"})] }.keys)
          .to eq(["refused"])
      end

      it "says that nothing was sent while Redis is down, and calls again when it is back" do
        server = start_server(appendonly: "yes")
        client = peer(language, "json_rpc_demo", "calculator", redis_url: server.url)
        server.kill
        expect(ask(client, method: "echo", params: [1], timeout: 0.3)).to eq("timeout" => "not_sent")
        server.start
        peer(language, "json_rpc_demo", "calculator", "serve", redis_url: server.url)
        expect(ask(client, method: "subtract", params: [3, 1], timeout: 10)).to eq("value" => 2)
        kill_connections(server)
        expect(ask(client, method: "subtract", params: [3, 1], timeout: 10)).to eq("value" => 2)
      end

      it "does not hang if Redis hangs" do
        server = start_server
        client = peer(language, "json_rpc_demo", "calculator", redis_url: server.url)
        Process.kill(:STOP, server.pid)
        expect(ask(client, method: "echo", params: [1], timeout: 1)["timeout"]).to match(/not_sent|unknown/)
        Process.kill(:CONT, server.pid)
        peer("ruby", "json_rpc_demo", "calculator", "serve", redis_url: server.url)
        expect(ask(client, method: "subtract", params: [3, 1], timeout: 20)).to eq("value" => 2)
      end
    end

    describe "a JSON-RPC server in #{language}" do
      # Returns the answer to a text that names the reply list.
      def requested(text)
        push(text)
        JSON.parse(pop)
      end

      it "runs a request whose delivery got lost" do
        proxy = lossy
        peer(language, "json_rpc_demo", "calculator", "serve", redis_url: proxy.url)
        proxy.lose_reply_to("blmove", matching: /subtract/)
        expect(rpc_client.call("subtract", 42, 23, timeout: 20)).to eq(19)
        next_of(proxy.lost)
        eventually { redis.keys("calculator:processing:*").empty? }
      end

      it "sends an answer again whose confirmation got lost, and does not run the method again" do
        proxy = lossy
        server = peer(language, "json_rpc_demo", "calculator", "serve", redis_url: proxy.url)
        proxy.lose_reply_to("lpush")
        client = rpc_client
        expect(client.call("wait", timeout: 20)).to include(value: nil)
        next_of(proxy.lost)
        expect(client.call("subtract", 3, 1, timeout: 20)).to eq(2)
        expect(server.line).to eq("started")
        server.kill
        expect(server.rest).to eq("")
      end

      it "survives broken connections and an outage, without a flood of reconnections" do
        server = start_server(appendonly: "yes")
        peer(language, "json_rpc_demo", "calculator", "serve", redis_url: server.url)
        kill_connections(server)
        client = peer("ruby", "json_rpc_demo", "calculator", redis_url: server.url)
        expect(ask(client, method: "subtract", params: [3, 1], timeout: 20)).to eq("value" => 2)
        # The three or four connections of the server and that of the client try to reconnect.
        expect(outage(server, tries: 60)).to be > 2
        expect(ask(client, method: "subtract", params: [3, 1], timeout: 20)).to eq("value" => 2)
      end

      it "answers an invalid request with its id, if that can be read" do
        peer(language, "json_rpc_demo", "calculator", "serve")
        base = { jsonrpc: "2.0", method: "subtract", params: [2, 1], id: 7, reply_to: JSONRPCEnds::REPLY_TO }
        [[base.merge(params: nil), 7], [base.merge(params: 5), 7], [base.merge(method: 5, id: "a"), "a"],
         [base.merge(jsonrpc: "1.0", id: 10**40), 10**40], [base.merge(jsonrpc: "1.0", id: 1.5), 1.5],
         [base.merge(id: true), nil], [base.merge(id: [1]), nil], [base.merge(id: {}), nil],
         [base.except(:jsonrpc, :id), nil]].each do |request, id|
          answer = requested(JSON.generate(request))
          expect([answer.dig("error", "code"), answer["id"]]).to eq([-32_600, id])
          expect(answer).to have_key("id")
        end
        expect(requested(JSON.generate(base).sub(":7,", ":1e400,"))).to include("id" => nil, "error" => Hash)
        readable.grep(Numeric).push("a", nil).each do |id|
          expect(requested(JSON.generate(base.merge(id: id)))).to eq("jsonrpc" => "2.0", "result" => 1, "id" => id)
        end
      end

      it "follows the rules for batches" do
        peer(language, "json_rpc_demo", "calculator", "serve")
        request = { jsonrpc: "2.0", method: "subtract", params: [2, 1], id: 1 }
        named = request.merge(reply_to: JSONRPCEnds::REPLY_TO)
        codes = ->(text) { [requested(text)].flatten(1).map { |each| [each["id"], each.dig("error", "code")] } }
        expect(codes.call(JSON.generate([{ foo: 1 }, 1, [request], request.except(:id), named.merge(id: 2)])))
          .to eq([[nil, -32_600], [nil, -32_600], [nil, -32_600], [2, nil]])
        expect(requested("#{JSONRPCEnds::REPLY_TO}![]")).to include("id" => nil, "error" => include("code" => -32_600))
        expect(requested("#{JSONRPCEnds::REPLY_TO}![1]")).to match([include("error" => include("code" => -32_600))])
        expect(requested("#{JSONRPCEnds::REPLY_TO}!{broken"))
          .to include("id" => nil, "error" => include("code" => -32_700))
        expect(requested(JSON.generate([named] + ([request] * 1000)))).to include("id" => 1, "error" => Hash)
      end

      it "sends results that every peer can read, and an error in place of others" do
        peer(language, "json_rpc_demo", "calculator", "serve")
        client = rpc_client
        readable.each { |value| expect(client.call("echo", value)[:value]).to eq(value) }
        unreadable.each do |text|
          request = %({"jsonrpc":"2.0","method":"echo","params":[#{text}],"id":1})
          answer = requested("#{JSONRPCEnds::REPLY_TO}!#{request}")
          expect(answer.dig("error", "code")).to be_between(-32_700, -32_600)
        end
        requested("#{JSONRPCEnds::REPLY_TO}!NaN").then { |answer| expect(answer.dig("error", "code")).to eq(-32_700) }
        [[], [true]].each do |params|
          expect { client.call("nonsense", *params) }.to raise_error(RedisIPC::JSONRPC::Error)
        end
      end

      it "starts nothing after its deadline, in a batch either" do
        server = peer(language, "json_rpc_demo", "calculator", "serve", SECONDS: "1")
        seconds, micros = redis.time
        clock = (seconds * 1000) + (micros / 1000)
        request = { jsonrpc: "2.0", method: "wait", params: [], id: 1, reply_to: JSONRPCEnds::REPLY_TO }
        push(JSON.generate(request.merge(deadline: clock - 1)))
        push(JSON.generate(request.except(:reply_to).merge(deadline: clock - 1)))
        push(JSON.generate([request.merge(deadline: clock + 900), request]))
        # The server handles one request after the other. A deadline that is not a time is ignored.
        push(JSON.generate(request.merge(deadline: true)))
        expect(JSON.parse(pop)).to include("result" => Hash)
        server.kill
        expect(server.rest.lines).to eq(["started\n"] * 2)
        expect(redis.llen(JSONRPCEnds::REPLY_TO)).to eq(0)
      end

      it "finishes what runs when it is told to end, and takes no more" do
        server = peer(language, "json_rpc_demo", "calculator", "serve", SECONDS: "1")
        client = rpc_client
        calls = Array.new(2) { Thread.new { client.call("wait", timeout: 3) } }
        expect(server.line).to eq("started")
        server.kill(:TERM)
        calls.each { |call| call.report_on_exception = false }
        expect(server.wait).to be_success
        results = calls.map do |call|
          call.value[:by]
        rescue RedisIPC::TimeoutError => e
          e.outcome
        end
        expect(results).to contain_exactly("#{language} #{server.pid}", :unclaimed)
        expect(keys_beside_records("calculator*")).to be_empty
      end

      it "keeps what runs while it leaves, however long that takes" do
        leaving = peer(language, "json_rpc_demo", "calculator", "serve", SECONDS: "7")
        call = Thread.new { rpc_client.call("wait", timeout: 20) }
        expect(leaving.line).to eq("started")
        other = peer(language, "json_rpc_demo", "calculator", "serve")
        leaving.kill(:TERM)
        expect(call.value).to include(by: "#{language} #{leaving.pid}")
        other.kill
        expect(other.rest).to eq("")
      end

      it "takes over what a dead server held, and gives up on what kills its servers" do
        peer(language, "json_rpc_demo", "calculator", "serve")
        poison = '{"jsonrpc":"2.0","method":"wait"}'
        redis.hset("calculator:deliveries", Digest::SHA1.hexdigest(poison), 4)
        request = JSON.generate(jsonrpc: "2.0", method: "subtract", params: [3, 1], id: 1,
                                reply_to: JSONRPCEnds::REPLY_TO)
        redis.lpush("calculator:processing:dead", [poison, request])
        redis.zadd("calculator:servers", [[1, "dead"], [1, "\xFF".b]])
        expect(JSON.parse(pop)["result"]).to eq(2)
        expect(redis.lrange("calculator:dead", 0, -1)).to eq([poison])
        eventually { redis.zcard("calculator:servers") == 1 }
      end
    end

    describe "a stream member in #{language}" do
      it "marks a request that it sends again" do
        runs = Queue.new
        proxy = lossy
        connect("child", consumer: { delivery: :at_most_once, pool_size: 1 }) do |entry|
          runs << entry.content[:value]
          fulfill_request(entry, content: entry.content[:value])
        end
        asking = peer(language, "stream_demo", "house", "parent", redis_url: proxy.url)
        proxy.lose_reply_to("xadd")
        first = ask(asking, to: "child", content: { value: 1 }, timeout: 10)
        next_of(proxy.lost)
        # The copy was rejected without running. Either of the two answers may be the first.
        expect(first["value"] == 1 || first.key?("rejected")).to be(true)
        expect(ask(asking, to: "child", content: { value: 2 }, timeout: 10)).to eq("value" => 2)
        expect(Array.new(runs.size) { runs.pop }).to eq([1, 2])
        expect(redis.xlen("house:inbox:child")).to eq(0)
      end

      it "does not call a request unclaimed of which there was another copy" do
        proxy = lossy
        asking = peer(language, "stream_demo", "house", "parent", redis_url: proxy.url)
        proxy.lose_reply_to("xadd")
        expect(ask(asking, to: "child", content: 1, timeout: 0.5)).to eq("timeout" => "unknown")
        expect(redis.xrange("house:inbox:child").map { |_, fields| fields["resent"] }).to eq([nil])
      end

      it "refuses what others could not read, and sends nothing" do
        asking = peer(language, "stream_demo", "house", "parent")
        unreadable.first(4).push("#{"[" * 101}#{"]" * 101}").each do |text|
          asking.puts(%({"to":"child","content":#{text},"timeout":10}))
          expect(answer(asking).keys).to eq(["refused"])
        end
        expect(redis.exists("house:inbox:child")).to eq(0)
      end

      it "runs a request whose delivery got lost, as its first delivery" do
        proxy = lossy
        answering = peer(language, "stream_demo", "house", "child", "serve", redis_url: proxy.url, SECONDS: "5")
        proxy.lose_reply_to("xreadgroup", matching: /wait/)
        future = connect("parent").async_send_to_group(content: { do: "wait" }, to: "child", timeout: 20)
        expect(answering.line).to eq("started")
        next_of(proxy.lost)
        expect(redis.xpending("house:inbox:child", "child", "-", "+", 10).map { |entry| entry["count"] }).to eq([1])
        expect(future.value).to include(value: nil)
      end

      it "sends an answer again whose confirmation got lost, and does not run the request again" do
        proxy = lossy
        answering = peer(language, "stream_demo", "house", "child", "serve", redis_url: proxy.url)
        proxy.lose_reply_to("xack")
        asker = connect("parent")
        expect(asker.send_to_group(content: { do: "wait" }, to: "child", timeout: 20).value).to include(value: nil)
        next_of(proxy.lost)
        expect(asker.send_to_group(content: { do: "echo", value: 1 }, to: "child").value).to include(value: 1)
        eventually { redis.xpending("house:inbox:child", "child")["size"].zero? }
        expect(answering.line).to eq("started")
        answering.kill
        expect(answering.rest).to eq("")
      end

      it "survives broken connections and an outage that lost all data" do
        server = start_server
        peer(language, "stream_demo", "house", "child", "serve", redis_url: server.url)
        asking = peer(language, "stream_demo", "house", "parent", redis_url: server.url)
        kill_connections(server)
        echo = ->(value) { ask(asking, to: "child", content: { do: "echo", value: value }, timeout: 20) }
        expect(echo.call(1)).to include("value" => include("value" => 1))
        expect(outage(server, tries: 60)).to be > 2
        expect(echo.call(2)).to include("value" => include("value" => 2))
      end

      it "sends answers that every peer can read, and rejects others, without losing threads" do
        peer(language, "stream_demo", "house", "child", "serve")
        asker = connect("parent")
        readable.each do |value|
          expect(asker.send_to_group(content: { do: "echo", value: value }, to: "child").value).to include(value: value)
        end
        # This is more often than it has threads.
        10.times { expect(asker.send_to_group(content: { do: "nonsense" }, to: "child")).to be_rejected }
        replies = "house:replies:spec:0123456789abcdef"
        [*(unreadable.first(4) - ["1e400"]), "NaN", "\"\xFF\"".b].each_with_index do |text, i|
          redis.xgroup(:create, replies, "new", "$", mkstream: true) if i.zero?
          redis.xadd("house:inbox:child", { id: i, instance_id: "i", status: "pending", content: text, ttl: 20_000,
                                            source_group: "spec", destination_group: "child", reply_to: replies })
        end
        eventually { redis.xlen(replies) == 5 }
        expect(redis.xrange(replies).map { |_, fields| fields["status"] }.uniq).to eq(["rejected"])
      end

      it "keeps no answers that it has read" do
        connect("child", &echo)
        asking = peer(language, "stream_demo", "house", "parent")
        3.times { |i| expect(ask(asking, to: "child", content: i, timeout: 10)).to eq("value" => i) }
        eventually { redis.xlen(redis.keys("house:replies:parent:*").first).zero? }
      end

      it "finishes what runs when it is told to end" do
        answering = peer(language, "stream_demo", "house", "child", "serve", SECONDS: "1")
        future = connect("parent").async_send_to_group(content: { do: "wait" }, to: "child", timeout: 20)
        expect(answering.line).to eq("started")
        answering.kill(:TERM)
        expect(answering.wait).to be_success
        expect(future.value).to include(by: "#{language} #{answering.pid}")
        expect(redis.keys("house:replies:child:*")).to be_empty
        expect(redis.zrange("house:instances", 0, -1).grep(/\Achild:/)).to be_empty
      end

      it "keeps what runs while it leaves, for longer than a lease" do
        leaving = peer(language, "stream_demo", "house", "child", "serve", SECONDS: "7")
        future = connect("parent").async_send_to_group(content: { do: "wait" }, to: "child", timeout: 20)
        expect(leaving.line).to eq("started")
        other = peer(language, "stream_demo", "house", "child", "serve")
        leaving.kill(:TERM)
        expect(future.value).to include(by: "#{language} #{leaving.pid}")
        other.kill
        expect(other.rest).to eq("")
      end
    end
  end

  it "know with Python 3.10, too, when their deadline has passed" do
    interpreter = @oldest_python or skip "there is no Python 3.10 on this machine"
    asking = peer("python", "stream_demo", "house", "parent", interpreter: interpreter)
    expect(ask(asking, to: "nobody", content: 1, timeout: 0.2)).to eq("timeout" => "unclaimed")
    client = peer("python", "json_rpc_demo", "nobody", interpreter: interpreter)
    expect(ask(client, method: "a", params: [], timeout: 0.2)).to eq("timeout" => "unclaimed")
  end
end

# frozen_string_literal: true

# Ruby, Python and Node with each other, each in a process of its own. The programs are those of examples/, with the
# Redis clients from their package registries.
RSpec.describe "peers in other languages", timeout: 300 do
  directions = %w[ruby python node].permutation(2).to_a
  text = "Zoë, 東京 und 🎉: \u0000\"\\"
  megabyte = "é" * (512 * 1024)

  include PeerProcesses

  # The packages are installed once, before the time limit of an example begins.
  before(:all) do
    PeerPackages.python
    PeerPackages.node
  end

  # Runs each direction in a thread of its own, because they wait for leases most of the time.
  def all_at_once(directions, &block)
    threads = directions.map { |direction| Thread.new { block.call(*direction) } }
    threads.each { |thread| thread.report_on_exception = false }
    threads.to_h(&:value)
  end

  describe "on a stream" do
    directions.each do |asker, answerer|
      it "#{asker} asks #{answerer}" do
        answering = peer(answerer, "stream_demo", "house", "child", "serve", SECONDS: "60")
        asking = peer(asker, "stream_demo", "house", "parent")
        by = "#{answerer} #{answering.pid}"
        to_child = ->(timeout: 10, **content) { ask(asking, to: "child", content: content, timeout: timeout) }

        [text, nil, [1, 2.5, { "a" => { "b" => [] } }], 2**53, megabyte].each do |value|
          expect(to_child.call(do: "echo", value: value)).to eq("value" => { "by" => by, "value" => value })
        end
        expect(to_child.call(do: "reject", reason: { "why" => text })).to eq("rejected" => { "why" => text })
        expect(ask(asking, to: "nobody", content: 1, timeout: 0.2)).to eq("timeout" => "unclaimed")
        # The timeout leaves enough time for the request to be taken.
        expect(to_child.call(do: "wait", timeout: 2)).to eq("timeout" => "unknown")
        expect(redis.xlen("house:inbox:child")).to eq(0)
      end
    end

    %w[python node].each do |language|
      it "#{language} goes on after entries that are no requests, and writes nowhere else" do
        peer(language, "stream_demo", "house", "child", "serve")
        good = { id: "a" * 32, instance_id: "i", status: "pending", content: "1", source_group: "parent",
                 destination_group: "child", reply_to: "house:replies:parent:i", ttl: "5000" }
        [{ x: 1 }, good.except(:id), good.except(:content), good.merge(ttl: "soon"), good.merge(reply_to: "victim"),
         good.merge(reply_to: "house:replies:a:b:c"), good.merge(content: "{broken")].each do |fields|
          redis.xadd("house:inbox:child", fields)
        end
        asker = connect("asker")
        answer = asker.send_to_group(content: { do: "echo", value: 1 }, to: "child").value
        expect(answer).to include(value: 1)
        eventually { redis.xlen("house:inbox:child").zero? }
        expect(redis.keys("victim*") + redis.keys("house:replies:a:*")).to be_empty
      end
    end

    it "a request survives the peer that was killed while it ran, in every direction" do
      outcomes = all_at_once(directions) do |asker, answerer|
        group = "#{answerer}-for-#{asker}"
        first = peer(answerer, "stream_demo", "house", group, "serve", SECONDS: "60")
        asking = peer(asker, "stream_demo", "house", "asker-of-#{group}")
        asking.puts(JSON.generate(to: group, content: { do: "wait" }, timeout: 25))
        expect(first.line).to eq("started")
        second = peer(answerer, "stream_demo", "house", group, "serve")
        first.kill
        answer = JSON.parse(asking.line(timeout: 30))
        [[asker, answerer], [answer, { "value" => { "by" => "#{answerer} #{second.pid}", "value" => nil } }]]
      end
      expect(outcomes.keys).to match_array(directions)
      outcomes.each_value { |answer, expected| expect(answer).to eq(expected) }
    end
  end

  describe "by JSON-RPC" do
    directions.each do |asker, answerer|
      it "#{asker} calls #{answerer}" do
        answering = peer(answerer, "json_rpc_demo", "calculator", "serve", SECONDS: "60")
        asking = peer(asker, "json_rpc_demo", "calculator")
        by = "#{answerer} #{answering.pid}"
        call = ->(method, params, timeout: 10) { ask(asking, method: method, params: params, timeout: timeout) }

        expect(call.call("subtract", [42, 23])).to eq("value" => 19)
        [text, nil, [1, 2.5, { "a" => { "b" => [] } }], 2**53, megabyte].each do |value|
          expect(call.call("echo", [value])).to eq("value" => { "by" => by, "value" => value })
        end
        expect(call.call("refuse", [text]))
          .to eq("rejected" => { "code" => 1000, "message" => "refused", "data" => text })
        expect(call.call("nothing", nil).dig("rejected", "code")).to eq(-32_601)
        expect(call.call("wait", [], timeout: 2)).to eq("timeout" => "unknown")
        elsewhere = peer(asker, "json_rpc_demo", "nobody")
        expect(ask(elsewhere, method: "a", params: [], timeout: 1)).to eq("timeout" => "unclaimed")
        expect(redis.exists("nobody")).to eq(0)
      end
    end

    %w[python node].each do |language|
      it "#{language} goes on after texts that are no requests, and writes nowhere else" do
        peer(language, "json_rpc_demo", "calculator", "serve")
        request = '{"jsonrpc":"2.0","method":"subtract","params":[2,1],"id":1'
        ["{broken", "[]", "1", "null", "\xFF".b, "[" * 100_000, '{"jsonrpc":"2.0","method":"toString","id":1}',
         %(#{request},"reply_to":5,"deadline":"soon"}), %(#{request},"reply_to":"victim"}),
         %([#{request},"reply_to":"calculator"}]),
         %({"jsonrpc":"2.0","method":"nothing","id":1e400})].each { |garbage| push(garbage) }
        client = rpc_client
        [[], [true]].each do |params|
          expect { client.call("nonsense", *params) }
            .to raise_error(RedisIPC::JSONRPC::Error) { |error| expect(error.code).to eq(-32_603) }
        end
        expect(client.call("subtract", 42, 23)).to eq(19)
        eventually { redis.keys("calculator:processing:*").empty? }
        expect(keys_beside_records - ["calculator:servers"]).to be_empty
      end
    end

    it "a call survives the server that was killed while it ran, in every direction" do
      outcomes = all_at_once(directions) do |asker, answerer|
        queue = "#{answerer}-for-#{asker}"
        first = peer(answerer, "json_rpc_demo", queue, "serve", SECONDS: "60")
        asking = peer(asker, "json_rpc_demo", queue)
        asking.puts(JSON.generate(method: "wait", params: [], timeout: 25))
        expect(first.line).to eq("started")
        second = peer(answerer, "json_rpc_demo", queue, "serve")
        first.kill
        answer = JSON.parse(asking.line(timeout: 30))
        [[asker, answerer], [answer, { "value" => { "by" => "#{answerer} #{second.pid}", "value" => nil } }]]
      end
      expect(outcomes.keys).to match_array(directions)
      outcomes.each_value { |answer, expected| expect(answer).to eq(expected) }
    end
  end
end

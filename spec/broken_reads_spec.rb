# frozen_string_literal: true

# A request that breaks several connections in a row while it is read alone is given up on. An outage must not look like
# such a request.
RSpec.describe "an outage at each read" do
  let(:server) { start_server }
  let(:proxy) { LossyProxy.new(server.path) }
  # This stream connects directly, and not through the proxy.
  let(:other) { RedisIPC::Stream.new("house", "other").connect(redis_options: { path: server.path }) }
  # This happens more often than it takes to give up on a request. Each outage is longer than the pause before the first
  # attempt to reconnect (at most 0.4 s).
  let(:outages) { { times: 5, outage: 0.45 } }
  let(:redis_options) { { url: proxy.url } }

  after do
    other.disconnect
    proxy.stop
  end

  # Calls a method through a client that connects directly. The server of the block is behind the proxy.
  def call_beside(method, *params)
    client = RedisIPC::JSONRPC::Client.new("calculator", redis_options: { path: server.path }).connect
    client.call(method, *params, timeout: 10)
  ensure
    client&.disconnect
  end

  it "gives up no request of a stream" do
    serving = connect("child", &echo)
    proxy.lose_reply_to("(?:XREADGROUP|XCLAIM)", matching: /mine/, **outages)
    expect(other.send_to_group(content: "mine", to: "child", timeout: 10).value).to eq("mine")
    expect(proxy.lost.size).to eq(outages[:times])
    # None of the outages counts as a delivery.
    expect(serving.stats).to include(dead_lettered: 0, redelivered: 0)
  end

  it "gives up no answer of a stream" do
    asking = connect("parent")
    other.disconnect
    other.on_request { |entry| fulfill_request(entry, content: entry.content) }
    other.connect(redis_options: { path: server.path })
    proxy.lose_reply_to("XREAD(?:GROUP)?", matching: /mine/, **outages)
    expect(asking.send_to_group(content: "mine", to: "other", timeout: 10).value).to eq("mine")
    expect(proxy.lost.size).to eq(outages[:times])
    expect(asking.stats).to include(malformed: 0)
  end

  it "gives up no JSON-RPC request" do
    rpc_server { |it| it.on("echo") { |text| text } }
    proxy.lose_reply_to("(?:BLMOVE|LRANGE)", matching: /mine/, **outages)
    expect(call_beside("echo", "mine")).to eq("mine")
    expect(proxy.lost.size).to eq(outages[:times])
    expect(server.client.exists("calculator:dead")).to eq(0)
  end

  it "gives up no JSON-RPC answer" do
    client = rpc_client
    beside = RedisIPC::JSONRPC::Server.new("calculator", redis_options: { path: server.path })
    beside.on("echo") { |text| text }.connect
    proxy.lose_reply_to("(?:BLMOVE|LRANGE)", matching: /mine/, **outages)
    expect(client.call("echo", "mine", timeout: 10)).to eq("mine")
    expect(proxy.lost.size).to eq(outages[:times])
  ensure
    beside&.disconnect
  end
end

# frozen_string_literal: true

# What breaks several connections in a row while it is read alone is given up on. An outage must not look like that.
RSpec.describe "an outage each time something is read" do
  let(:server) { start_server }
  let(:proxy) { LossyProxy.new(server.path) }
  # Connected beside the proxy.
  let(:other) { RedisIPC::Stream.new("house", "other").connect(redis_options: { path: server.path }) }
  # More often than it takes to give something up. An outage is longer than the pause before the first attempt to
  # connect again (0.4 s at most).
  let(:outages) { { times: 5, outage: 0.45 } }
  let(:redis_options) { { url: proxy.url } }

  after do
    other.disconnect
    proxy.stop
  end

  # One of its own list that a client beside the proxy calls with; the block's server is behind it.
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
    # Nor is any of them a delivery.
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

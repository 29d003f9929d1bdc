# frozen_string_literal: true

RSpec.describe "the examples of live events" do
  def example(name, server)
    file = File.expand_path("../examples/live/#{name}.rb", __dir__)
    run_process(RbConfig.ruby, "-I", Processes::LIBRARY, file, redis_url: server.url)
  end

  it "print prices, and report that some may be missing" do
    process = example("price_ticker", RedisServer.shared)
    expect(process.line).to eq("ready")
    redis.publish("prices.EUR", '{"price":1.17}')
    expect(process.line).to eq("EUR 1.17")
    process.end_input
    expect(process.wait).to be_success
  end

  it "read a cache again when a message may be missing" do
    server = start_server
    server.client.hset("settings", "color", "red")
    process = example("reloading_cache", server)
    expect([process.line, process.line]).to eq(["read 1 settings", "ready"])
    server.client.publish("settings", '{"size":"7"}')
    expect(process.line).to eq('[["color", "red"], ["size", "7"]]')
    server.kill
    server.start
    server.client.hset("settings", "color", "blue")
    expect(process.line).to match(/\Aread [01] settings\z/)
  end

  it "report the ends of sessions" do
    server = start_server(notify_keyspace_events: "Kxg")
    process = example("session_audit", server)
    expect(process.line).to eq("ready")
    server.client.set("session:1", "x")
    server.client.del("session:1")
    server.client.set("session:2", "x", px: 1)
    eventually { server.client.get("session:2").nil? }
    expect([process.line, process.line]).to contain_exactly("session:1 was ended", "session:2 has timed out")
    server.client.config(:set, "notify-keyspace-events", "")
    refused = example("session_audit", server)
    expect(refused.wait).not_to be_success
  end
  it "keep a cache from which what has changed is dropped, and everything if a change may be missed" do
    server = start_server
    server.client.hset("user:7", "name", "Ann")
    process = example("tracked_cache", server)
    expect(process.line).to eq("ready")
    ask = lambda do |lines|
      process.puts("7")
      Array.new(lines) { process.line }
    end
    expect([ask.call(2), ask.call(1)]).to eq([["read user:7", '"Ann"'], ['"Ann"']])
    server.client.hset("user:7", "name", "Bob")
    expect([process.line, *ask.call(2)]).to eq(["dropped user:7", "read user:7", '"Bob"'])
    server.client.call("CLIENT", "KILL", "TYPE", "pubsub")
    expect([process.line, *ask.call(2)]).to eq(["dropped all: disconnected", "read user:7", '"Bob"'])
    server.client.flushall
    expect([process.line, *ask.call(2)]).to eq(["dropped all: flushed", "read user:7", "nil"])
    process.end_input
    expect(process.wait).to be_success
  end
end

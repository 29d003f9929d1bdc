# frozen_string_literal: true

require "logger"

RSpec.describe RedisIPC::Configuration do
  let(:config) { described_class.new }

  # Runs the block with a configuration that replaces the process's own.
  def configured(&block)
    RedisIPC.instance_variable_set(:@configuration, config)
    RedisIPC.configure(&block)
  end

  around do |example|
    previous = RedisIPC.configuration
    example.run
  ensure
    RedisIPC.instance_variable_set(:@configuration, previous)
  end

  it "gives streams, channels and JSON-RPC the Redis that they connect to" do
    configured { |defaults| defaults.redis_options = redis_options }
    child = RedisIPC::Stream.new("house", "child").on_request { |entry| entry.fulfill("yes") }.connect
    server = RedisIPC::JSONRPC::Server.new("sums").on("sum") { |*numbers| numbers.sum }.connect
    client = RedisIPC::JSONRPC::Client.new("sums").connect
    expect(child.send_to_group(content: 1, to: "child").value).to eq("yes")
    expect(client.call("sum", 1, 2)).to eq(3)
  ensure
    [child, client, server].each { |one| one&.disconnect }
  end

  it "is read by JSON-RPC when it connects" do
    client = RedisIPC::JSONRPC::Client.new("sums")
    configured { |defaults| defaults.redis_options = redis_options }
    rpc_server("sums") { |server| server.on("same") { |one| one } }
    expect(client.connect.call("same", 1)).to eq(1)
  ensure
    client&.disconnect
  end

  it "completes what connect is given, nested options too, and lets that win" do
    config.connect_options = { pool_size: 4, consumer: { pool_size: 8, lease: 3 } }
    expect(config.complete(pool_size: 2, consumer: { lease: 1 }))
      .to eq(pool_size: 2, consumer: { pool_size: 8, lease: 1 }, redis_options: {})
  end

  it "gives no option of the configured Redis to another one" do
    config.redis_options = { url: "redis://one", password: "secret" }
    expect(config.complete(redis_options: { url: "redis://two" })).to eq(redis_options: { url: "redis://two" })
    config.connect_options = { redis_options: { url: "redis://three" } }
    expect(config.complete({})).to eq(redis_options: { url: "redis://three" })
  end

  it "has a logger that is used where no other is given" do
    lines = StringIO.new
    configured { |defaults| defaults.logger = Logger.new(lines) }
    child = build("child") { raise "oh" }
    child.connect(redis_options: redis_options)
    child.send_to_group(content: 1, to: "child")
    child.disconnect
    expect(lines.string).to include("RuntimeError: oh")
  end

  it "refuses values of the wrong kind, without showing them" do
    expect { config.redis_options = "redis://:secret@one" }
      .to raise_error(RedisIPC::ConfigurationError, "the option redis_options must be a Hash, got a String")
    expect { config.logger = 1 }.to raise_error(RedisIPC::ConfigurationError, /logger must respond to/)
    expect { config.shutdown_timeout = -1 }.to raise_error(RedisIPC::ConfigurationError, /at least 0, got -1/)
    expect { RedisIPC.configure }.to raise_error(ArgumentError, "configure needs a block")
  end

  it "shows no password" do
    config.redis_options = { password: "secret" }
    expect(config.inspect).to eq("#<RedisIPC::Configuration>")
    expect { Marshal.dump(config) }.to raise_error(TypeError)
  end
end

# frozen_string_literal: true

# What each user needs according to docs/json_rpc.md, with the rules of that page.
RSpec.describe "the ACL rules of docs/json_rpc.md" do
  rules = File.read(File.expand_path("../docs/json_rpc.md", __dir__)).scan(/^```acl\nuser (\w+) (.*?)^```/m).to_h

  let(:server) { start_server }

  before do
    rules.each do |user, rule|
      words = rule.gsub(/\s+/, " ").strip.scan(/\([^)]*\)|\S+/)
      expect(server.client.call("ACL", "SETUSER", user, *words)).to eq("OK")
    end
  end

  def login(user)
    { path: server.path, username: user, password: "#{user}-secret" }
  end

  def refused(user, *command)
    plain = RedisServer.client(**login(user))
    plain.call(*command)
    false
  rescue Redis::CommandError => e
    e.message.start_with?("NOPERM")
  ensure
    plain&.close
  end

  %i[at_least_once at_most_once].each do |guarantee|
    it "are enough to serve and to call (#{guarantee})" do
      options = { guarantee: guarantee, lease: 0.2, redis_options: login("server") }
      gate = Queue.new
      serving = RedisIPC::JSONRPC::Server.new("calculator", **options).on("echo") { |value| value }
      serving.on("hold") { gate.pop }
      client = RedisIPC::JSONRPC::Client.new("calculator", redis_options: login("client"))
      keep(serving)
      keep(client)
      serving.connect
      client.connect
      expect(client.call("echo", 1)).to eq(1)
      expect(client.batch { |batch| 3.times { |number| batch.call("echo", number) } }).to eq([0, 1, 2])
      expect(client.notify("echo", 1)).to be(true)
      expect { client.call("hold", timeout: 0.1) }.to raise_error(RedisIPC::TimeoutError)
      gate << true
      serving.disconnect
      expect(unclaimed { client.call("echo", 1, timeout: 0.1) }.outcome).to eq(:unclaimed)
      client.disconnect
      expect(Array.new(errors.size) { errors.pop.message }).to eq([])
    end
  end

  it "are enough to take over what a dead server held" do
    server.client.zadd("calculator:servers", 1, "dead")
    server.client.lpush("calculator:processing:dead", '{"jsonrpc":"2.0","method":"run"}')
    ran = Queue.new
    serving = RedisIPC::JSONRPC::Server.new("calculator", lease: 0.2, redis_options: login("server"))
    keep(serving)
    serving.on("run") { ran << true }.connect
    expect(next_of(ran)).to be(true)
    expect(Array.new(errors.size) { errors.pop.message }).to eq([])
  end

  it "keep a client from the requests and answers of others, and a server from other keys" do
    expect(refused("client", "LRANGE", "calculator", 0, -1)).to be(true)
    expect(refused("client", "RPOP", "calculator")).to be(true)
    expect(refused("client", "LPUSH", "calculator:reply:0123456789abcdef", "forged")).to be(true)
    expect(refused("client", "KEYS", "*")).to be(true)
    expect(refused("server", "LPUSH", "other", "x")).to be(true)
    expect(refused("server", "FLUSHALL")).to be(true)
  end
end

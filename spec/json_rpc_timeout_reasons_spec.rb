# frozen_string_literal: true

# What the errors of JSON-RPC say of a request that was not answered, or of a method that there is not.
RSpec.describe "the errors of a JSON-RPC client" do
  let(:started) { Queue.new }
  let(:gate) { Queue.new }

  after { gate.close }

  # Connects a server whose method waits.
  def waiting_server(**options)
    started = self.started
    gate = self.gate
    rpc_server(threads: 1, **options) { |server| server.on("wait") { (started << 1) && gate.pop } }
  end

  def message_of_call(client, timeout: 0.2)
    client.call("wait", timeout: timeout)
    raise "the call was answered"
  rescue RedisIPC::TimeoutError => e
    expect(e.message.lines.size).to eq(1)
    e.message
  end

  it "say that no server of the queue is alive" do
    expect(message_of_call(rpc_client)).to include("it did not and will not run; no server of this queue shows that it")
  end

  %i[at_least_once at_most_once].each do |guarantee|
    it "say how many servers (#{guarantee}) did not get to a request" do
      waiting_server(guarantee: guarantee)
      client = rpc_client
      client.notify("wait")
      next_of(started)
      expect(message_of_call(client)).to include("1 server of this queue is alive, and did not get to it: it is busy")
    end
  end

  it "name the server that has the request" do
    waiting_server
    message = message_of_call(rpc_client)
    expect(message).to match(/the process #{Process.pid} on ".+" took the request and has not answered/)
  end

  it "say what is known without the rights to find out, and name these rights once" do
    waiting_server
    rules = RedisIPC::ACL.rules(:json_rpc_client, queue: "calculator").grep_v(/zrange|lpos|hexists/)
    redis.call("ACL", "SETUSER", "client", "on", ">secret", *rules)
    client = rpc_client(redis_options: redis_options.merge(username: "client", password: "secret"))
    expect(message_of_call(client)).to include("a server may have taken the request: whether it ran is not known")
    told = Array.new(2) { next_of(errors).message }
    expect(told).to include(/\(%R~calculator:servers %R~calculator:stats \+zrange\)/)
      .and include(/\(%R~calculator:deliveries \+hexists\)/)
    message_of_call(client)
    expect(errors).to be_empty
  ensure
    redis.call("ACL", "DELUSER", "client")
  end

  it "suggest a method whose name is nearly the one that was asked" do
    rpc_server { |server| %w[subtract sum].each { |name| server.on(name) { 1 } } }
    client = rpc_client
    { "substract" => 'did you mean "subtract"?', "subtrac" => 'did you mean "subtract"?', "divide" => nil,
      "x" * 200 => nil }.each do |name, hint|
      expect { client.call(name) }.to raise_error(RedisIPC::JSONRPC::Error) { |error|
        expect([error.code, error.data]).to eq([-32_601, hint])
      }
    end
  end
end

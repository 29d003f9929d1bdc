# frozen_string_literal: true

# A server with `timeout N` closes connections that are idle for N seconds. That is no fault.
RSpec.describe "connections that the server closes because they are idle" do
  let(:server) { start_server(timeout: 1) }
  let(:redis_options) { { url: server.url } }

  # Waits until the server closes our connections whose last command was one of these and which wait for nothing. The
  # server checks about once a second, and closes what was idle for more than a second.
  def await_close(*commands)
    eventually(timeout: 20, every: 0.05) { parked(commands).empty? }
  end

  def parked(commands)
    fields = server.client.call("CLIENT", "LIST").lines.map { |line| line.split.to_h { |it| it.split("=", 2) } }
    fields.select { |it| it["name"] == "redis_ipc" && commands.include?(it["cmd"]) && !it["flags"].include?("b") }
  end

  def told
    Array.new(errors.size) { errors.pop }
  end

  it "costs a client's call and notification nothing (JSON-RPC)" do
    done = Queue.new
    rpc_server(lease: 60) do |it|
      it.on("add") { |a, b| a + b }
      it.on("note") { |text| done << text }
    end
    client = rpc_client
    expect(client.call("add", 1, 2)).to eq(3)
    2.times do |round|
      await_close("lpush", "lrem", "pexpire", "time")
      expect(client.call("add", round, 2, timeout: 5)).to eq(round + 2)
      await_close("lpush", "lrem", "pexpire", "time")
      client.notify("note", round)
      expect(next_of(done)).to eq(round)
    end
    expect(told).to eq([])
  end

  %i[at_least_once at_most_once].each do |delivery|
    it "costs a stream's call nothing, #{delivery}" do
      seen = Queue.new
      serving = connect("child", consumer: { delivery: delivery, lease: 60 }) do |entry|
        seen << entry.redelivered?
        fulfill_request(entry, content: entry.content)
      end
      asking = connect("parent")
      3.times do |round|
        expect(asking.send_to_group(content: round, to: "child", timeout: 5).value).to eq(round)
        await_close("xadd", "pexpire", "xack", "xdel")
      end
      expect(Array.new(seen.size) { seen.pop }).to all(be(false))
      expect(asking.stats).to include(resent: 0, failed: 0)
      expect(serving.stats[:redelivered]).to eq(0)
      expect(told).to eq([])
    end
  end

  it "leaves a call that nobody takes :unclaimed" do
    asking = connect("parent")
    serving = connect("child", &echo)
    expect(asking.send_to_group(content: 1, to: "child").value).to eq(1)
    serving.disconnect
    error = unclaimed do
      await_close("xadd", "pexpire", "exec")
      asking.send_to_group(content: 1, to: "child", timeout: 0.5)
    end
    expect(error.outcome).to eq(:unclaimed)
    expect(asking.stats).to include(resent: 0)
    expect(told).to eq([])
  end

  it "costs nothing while all handlers are busy: nobody reads the inbox then" do
    gate = Queue.new
    serving = connect("child", consumer: { pool_size: 1, lease: 60 }) do |entry|
      gate.pop if entry.content == "hold"
      fulfill_request(entry, content: entry.content)
    end
    asking = connect("parent")
    held = asking.async_send_to_group(content: "hold", to: "child", timeout: 50)
    eventually { gate.num_waiting == 1 }
    await_close("xreadgroup")
    gate << true
    expect(held.value).to eq("hold")
    expect(asking.send_to_group(content: 2, to: "child", timeout: 5).value).to eq(2)
    expect(serving.stats[:redelivered]).to eq(0)
    expect(told).to eq([])
  end

  it "costs nothing while all threads of a JSON-RPC server are busy" do
    gate = Queue.new
    rpc_server(threads: 1) do |it|
      it.on("hold") { gate.pop }
      it.on("add") { |a, b| a + b }
    end
    client = rpc_client
    held = Thread.new { client.call("hold", timeout: 50) }
    eventually { gate.num_waiting == 1 }
    await_close("blmove")
    gate << 7
    expect(held.value).to eq(7)
    expect(client.call("add", 1, 2, timeout: 5)).to eq(3)
    expect(told).to eq([])
  end

  it "costs the pool nothing" do
    stream = connect("parent", consumer: { lease: 60 }, ledger: { cleanup_interval: 60 })
    3.times do
      expect(stream.instances.size).to eq(1)
      await_close("zrange")
    end
    expect(told).to eq([])
  end

  context "with TLS" do
    let(:certificates) { Certificates.new }
    let(:tls_port) { RedisServer.free_port }
    let(:server) do
      certificate, key = certificates.for("server")
      start_server(timeout: 1, tls_port: tls_port, tls_cert_file: certificate, tls_key_file: key,
                   tls_ca_cert_file: certificates.authority_file, tls_auth_clients: "no")
    end
    let(:redis_options) do
      server
      { url: "rediss://localhost:#{tls_port}", ssl_params: { ca_file: certificates.authority_file } }
    end

    after { certificates.remove }

    it "costs a stream's call nothing" do
      seen = Queue.new
      connect("child", consumer: { lease: 60 }) do |entry|
        seen << entry.redelivered?
        fulfill_request(entry, content: entry.content)
      end
      asking = connect("parent")
      3.times do |round|
        expect(asking.send_to_group(content: round, to: "child", timeout: 5).value).to eq(round)
        await_close("xadd", "pexpire", "xack", "xdel")
      end
      expect(Array.new(seen.size) { seen.pop }).to all(be(false))
      expect(asking.stats).to include(resent: 0)
      expect(told).to eq([])
    end
  end
end

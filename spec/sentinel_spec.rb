# frozen_string_literal: true

# Several sentinels. Some of them hang, give wrong answers, or missed what happened.
RSpec.describe "several sentinels" do
  let(:master) { start_server }
  let(:replica) { start_server(replicaof: ["127.0.0.1", master.port]) }

  after do
    (@sentinels || []).each do |sentinel|
      %i[KILL CONT].each { |signal| Process.kill(signal, sentinel[:pid]) }
      Process.wait(sentinel[:pid])
      FileUtils.remove_entry(sentinel[:folder])
    end
  end

  # Starts a sentinel with a quorum of 9, which never starts a failover itself.
  def start_sentinel(server, user: nil)
    port = RedisServer.free_port
    folder = Dir.mktmpdir("redis_ipc_sentinel")
    file = File.join(folder, "sentinel.conf")
    File.write(file, <<~CONF)
      port #{port}
      dir #{folder}
      sentinel monitor mymaster 127.0.0.1 #{server.port} 9
      sentinel down-after-milliseconds mymaster 60000
      #{"sentinel auth-user mymaster #{user}\nsentinel auth-pass mymaster secret" if user}
    CONF
    pid = Process.spawn("redis-server", file, "--sentinel", out: File::NULL, err: File::NULL)
    sentinel = { pid: pid, folder: folder, port: port }
    (@sentinels ||= []) << sentinel
    eventually { ask(sentinel, "PING") }
    sentinel
  end

  def ask(sentinel, *command)
    client = RedisServer.client(host: "127.0.0.1", port: sentinel[:port], timeout: 2)
    client.call(*command)
  rescue Redis::BaseConnectionError
    nil
  ensure
    client&.close
  end

  def options(*sentinels, **more)
    addresses = sentinels.map { |sentinel| { host: "127.0.0.1", port: sentinel[:port] } }
    { name: "mymaster", sentinels: addresses, **more }
  end

  def connected(**options)
    build("both", &echo).connect(redis_options: options)
  end

  def answer(stream)
    stream.send_to_group(content: 1, to: "both", timeout: 2).value
  rescue RedisIPC::CallError
    nil
  end

  def freeze(sentinel)
    Process.kill(:STOP, sentinel[:pid])
  end

  it "of which the first ones hang: the next one is asked soon, and is the first the next time" do
    good = start_sentinel(master)
    hung = Array.new(2) { start_sentinel(master) }
    hung.each { |sentinel| freeze(sentinel) }
    stream = nil
    took = seconds { stream = connected(**options(*hung, good, connect_timeout: 2)) }
    # Several connections are opened, and one of them asked in vain.
    expect(took).to be < 1.8
    expect(answer(stream)).to eq(1)
    master.client.call("CLIENT", "KILL", "TYPE", "NORMAL", "SKIPME", "yes")
    expect(eventually(timeout: 3) { answer(stream) }).to eq(1)
  end

  it "of which the first hangs, with very little time to connect: it is not asked first for ever" do
    good = start_sentinel(master)
    hung = start_sentinel(master)
    freeze(hung)
    stream = build("both", &echo)
    eventually do
      stream.connect(redis_options: options(hung, good, connect_timeout: 0.15))
    rescue RedisIPC::ConnectionError
      nil
    end
    expect(answer(stream)).to eq(1)
  end

  it "of which one hangs once it is in use: the others give the address for new connections" do
    first, second = Array.new(2) { start_sentinel(master) }
    stream = connected(**options(first, second))
    freeze(first)
    master.client.call("CLIENT", "KILL", "TYPE", "NORMAL", "SKIPME", "yes")
    expect(eventually(timeout: 4) { answer(stream) }).to eq(1)
    expect(seconds { stream.disconnect(timeout: 1) }).to be < 5
  end

  it "of which the first names a demoted master: it is not believed" do
    stale = start_sentinel(replica)
    good = start_sentinel(master)
    eventually { ask(stale, "SENTINEL", "get-master-addr-by-name", "mymaster") }
    stream = connected(**options(stale, good))
    expect(answer(stream)).to eq(1)
    expect(master.client.keys).to include("house:inbox:both")
  end

  it "of which the only one names a replica, or a server out of reach: the error says who named what" do
    stale = start_sentinel(replica)
    eventually { replica.client.info("replication")["master_link_status"] == "up" }
    expect { connected(**options(stale)) }.to raise_error(
      RedisIPC::ConnectionError,
      /replica \(the sentinel at 127.0.0.1:#{stale[:port]} named 127.0.0.1:#{replica.port} as the master\)/
    )
    lost = start_sentinel(start_server.tap(&:kill))
    expect { connected(**options(lost)) }
      .to raise_error(RedisIPC::ConnectionError, /the sentinel at 127.0.0.1:#{lost[:port]} named 127.0.0.1:\d+/)
    expect { connected(**options(lost), name: "nobody") }
      .to raise_error(RedisIPC::ConnectionError, /the sentinel does not know the master/)
  end

  it "that are split: those with the later failover are followed, and the others no longer", timeout: 120 do
    replica
    # This sentinel can see the servers, but can neither talk nor listen to other sentinels.
    master.client.call("ACL", "SETUSER", "deaf", "on", ">secret", "~*", "&*", "+@all", "-subscribe", "-publish")
    minority = start_sentinel(master, user: "deaf")
    majority = start_sentinel(master)
    stream = connected(**options(minority, majority))
    expect(answer(stream)).to eq(1)
    eventually { replica.client.info("replication")["master_link_status"] == "up" }
    eventually { ask(majority, "SENTINEL", "REPLICAS", "mymaster")&.any? }
    eventually do
      ask(majority, "SENTINEL", "FAILOVER", "mymaster") == "OK"
    rescue Redis::CommandError
      nil
    end
    eventually(timeout: 60) { replica.client.info("replication")["role"] == "master" }
    expect(ask(minority, "SENTINEL", "get-master-addr-by-name", "mymaster").last).to eq(master.port.to_s)
    eventually(timeout: 20) { answer(stream) && replica.client.exists?("house:inbox:both") }
    # The client stays there, although it also asks the minority.
    eventually(timeout: 20) do
      clients = replica.client.call("CLIENT", "LIST").lines.grep(/name=redis_ipc/)
      clients.size >= 3 && answer(stream)
    end
    before = stream.stats[:reconnections]
    expect(happens?(within: 5) { stream.stats[:reconnections] > before + 1 }).to be(false)
  end
end

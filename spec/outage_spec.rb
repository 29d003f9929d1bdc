# frozen_string_literal: true

RSpec.describe "when Redis" do
  let(:server) { start_server }
  let(:options) { { path: server.path, connect_timeout: 5 } }

  def both(**more, &handler)
    build("both", &(handler || echo)).connect(redis_options: options, **more)
  end

  it "is killed and comes back, the stream is back within a second, without a call from the user" do
    stream = both
    stream.send_to_group(content: 1, to: "both")
    server.kill
    eventually { !stream.connected? }
    expect(next_of(errors)).to be_a(RedisIPC::ConnectionError)
    server.start
    back = now
    eventually { stream.connected? }
    expect(stream.send_to_group(content: 2, to: "both").value).to eq(2)
    expect(now - back).to be < 3
    expect(stream.stats[:reconnections]).to be_positive
  end

  it "drops every connection, calls go on and none is run twice", timeout: 120 do
    runs = Queue.new
    stream = both { |entry| (runs << entry.content) && fulfill_request(entry, content: entry.content) }
    threads = Array.new(4) do |thread|
      Thread.new { Array.new(200) { |index| stream.send_to_group(content: "#{thread}/#{index}", to: "both").value } }
    end
    10.times do
      seen = runs.size
      eventually { runs.size > seen + 10 || threads.none?(&:alive?) }
      server.client.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    end
    expect(threads.flat_map(&:value)).to eq(Array.new(4) { |t| Array.new(200) { |i| "#{t}/#{i}" } }.flatten)
    counts = Array.new(runs.size) { runs.pop }.tally
    expect(counts.size).to eq(800)
    # A request that was resent may run twice, and no other.
    expect(counts.count { |_, count| count > 1 }).to be <= stream.stats[:resent]
  end

  it "becomes a replica, calls fail in time, disconnecting does not hang, and all is well afterwards" do
    stream = build("both", &echo).connect(redis_options: { path: server.path, connect_timeout: 1 })
    server.client.call("REPLICAOF", "127.0.0.1", RedisServer.free_port.to_s)
    took = seconds do
      expect { stream.send_to_group(content: 1, to: "both", timeout: 2) }.to raise_error(RedisIPC::CallError) { |error|
        expect(error.outcome).to eq(:not_sent)
      }
    end
    expect(took).to be < 3
    server.client.call("REPLICAOF", "NO", "ONE")
    eventually(timeout: 15) do
      stream.send_to_group(content: 1, to: "both", timeout: 1).fulfilled?
    rescue RedisIPC::CallError
      false
    end
    server.client.call("REPLICAOF", "127.0.0.1", RedisServer.free_port.to_s)
    expect(seconds { stream.disconnect }).to be < 6
  end

  it "is out of memory, calls are refused, answers are kept, and requests are taken again afterwards" do
    started = Queue.new
    gate = Queue.new
    stream = both do |entry|
      started << entry.content
      gate.pop if entry.content == "held"
      fulfill_request(entry, content: entry.content)
    end
    held = stream.async_send_to_group(content: "held", to: "both", timeout: 20)
    next_of(started)
    server.client.call("CONFIG", "SET", "maxmemory", "1")
    expect { stream.send_to_group(content: 1, to: "both") }.to raise_error(RedisIPC::CommandError, /OOM/) { |error|
      expect(error.outcome).to eq(:not_sent)
    }
    gate << true
    expect(held.wait(0.3)).to be(false)
    server.client.call("CONFIG", "SET", "maxmemory", "0")
    expect(held.value).to eq("held")
    expect(stream.send_to_group(content: 2, to: "both").value).to eq(2)
  end

  it "is out of memory while several answers wait, each request runs once" do
    runs = Queue.new
    gate = Queue.new
    stream = both(consumer: { pool_size: 4, lease: 0.3 }) do |entry|
      runs << entry.content
      gate.pop
      fulfill_request(entry, content: entry.content)
    end
    futures = Array.new(4) { |index| stream.async_send_to_group(content: index, to: "both", timeout: 20) }
    4.times { next_of(runs) }
    server.client.call("CONFIG", "SET", "maxmemory", "1")
    4.times { gate << true }
    expect(futures.first.wait(0.5)).to be(false)
    server.client.call("CONFIG", "SET", "maxmemory", "0")
    expect(futures.map(&:value)).to eq([0, 1, 2, 3])
    eventually { server.client.xlen("house:inbox:both").zero? }
    expect(runs).to be_empty
  end

  it "revokes a right, the error says which, and the stream is back when it is given again" do
    server.client.call("ACL", "SETUSER", "ann", "on", ">secret", "~*", "+@all")
    stream = build("both", &echo).connect(redis_options: { path: server.path, username: "ann", password: "secret" })
    server.client.call("ACL", "SETUSER", "ann", "-xadd")
    expect do
      stream.send_to_group(content: 1, to: "both")
    end.to raise_error(RedisIPC::CommandError, /NOPERM|no permissions/i)
    server.client.call("ACL", "SETUSER", "ann", "+xadd")
    expect(stream.send_to_group(content: 1, to: "both").value).to eq(1)
  end

  it "is killed twice in short succession, each connection notices at once" do
    stream = build("asker").connect(redis_options: options)
    2.times do
      server.kill
      eventually { !stream.connected? }
      server.start
      eventually { stream.connected? }
    end
    eventually(timeout: 4) { stream.stats[:reconnections] >= 2 }
  end

  it "is up all the time, but the process is stopped for a while: it keeps its connections" do
    process = ruby(<<~RUBY, redis_url: server.url)
      stream = RedisIPC::Stream.new("house", "both")
      stream.on_request { |entry| fulfill_request(entry, content: entry.content) }
      stream.connect
      puts "ready"
      puts stream.send_to_group(content: $stdin.gets.chomp, to: "both").value
      puts stream.stats[:reconnections]
    RUBY
    expect(process.line).to eq("ready")
    process.kill(:STOP)
    eventually { File.read("/proc/#{process.pid}/stat").include?(") T ") }
    process.kill(:CONT)
    process.puts("on we go")
    expect([process.line, process.line]).to eq(["on we go", "0"])
  end

  it "is stalled for a while, calls are answered afterwards and none is taken over" do
    runs = Queue.new
    stream = both(consumer: { lease: 0.5 }) { |entry| (runs << entry.content) && fulfill_request(entry, content: 1) }
    stream.send_to_group(content: "before", to: "both")
    Process.kill(:STOP, server.pid)
    future = stream.async_send_to_group(content: "during", to: "both", timeout: 20)
    expect(future.wait(2)).to be(false)
    Process.kill(:CONT, server.pid)
    expect(future.value).to eq(1)
  end

  # The instance is gone and comes back as another one, so nobody else would ever delete its reply stream.
  it "breaks the connection while a reply stream is created, the stream still expires" do
    proxy = LossyProxy.new(RedisServer.shared.path).tap { |it| servers << it }
    proxy.lose_reply_to("new")
    expect { connect("parent", redis_options: { url: proxy.url, reconnect_attempts: 0 }) }
      .to raise_error(RedisIPC::ConnectionError)
    expect(proxy.lost.size).to eq(1)
    expect(redis.keys("house:replies:*").map { |key| redis.ttl(key) }).to all(be_positive)
  end
end

# frozen_string_literal: true

# What happens to requests when servers, clients and Redis die.
RSpec.describe "delivery by JSON-RPC" do
  server_script = lambda do |options|
    <<~RUBY
      server = RedisIPC::JSONRPC::Server.new("calculator", #{options})
      server.on("hold") { puts "started"; sleep }
      server.on("pid") { Process.pid }
      server.connect
      puts "ready"
      $stdin.gets
      server.disconnect(timeout: 0)
      puts "left"
    RUBY
  end

  define_method(:server_process) do |options = "lease: 0.5"|
    ruby(server_script.call(options)).tap { |process| expect(process.line).to eq("ready") }
  end

  def processing
    redis.keys("calculator:processing:*").sum { |key| redis.llen(key) }
  end

  def calling(method, timeout: 20)
    client = (@client ||= rpc_client)
    Thread.new { client.call(method, timeout: timeout) }.tap { |thread| thread.report_on_exception = false }
  end

  def run_with(number)
    push(%({"jsonrpc":"2.0","method":"run","params":[#{number}]}))
  end

  def run_quickly(ran)
    20.times { run_with(-1) }
    20.times { next_of(ran) }
    eventually { processing.zero? }
  end

  describe "at least once" do
    it "keeps a request until it is answered" do
      release = Queue.new
      server = rpc_server { |it| it.on("run") { release.pop } }
      expect(server.guarantee).to eq(:at_least_once)
      asking = calling("run")
      eventually { processing == 1 }
      release << 5
      expect(asking.value).to eq(5)
      eventually { processing.zero? }
    end

    it "has another server run what a killed one held" do
      first = server_process
      asking = calling("hold")
      expect(first.line).to eq("started")
      second = rpc_server(lease: 0.5) { |it| it.on("hold") { "saved" } }
      first.kill
      expect(asking.value).to eq("saved")
      # The thread that put the request back counts it. That may run after the answer has arrived.
      eventually { second.stats.values_at(:redelivered, :taken) == [1, 1] }
      eventually { processing.zero? }
    end

    it "leaves alone what a living server holds, however long it takes" do
      # A living server would look dead if the machine stalled for half of a short lease.
      first = server_process("lease: 1")
      asking = calling("hold")
      first.line
      second = rpc_server(lease: 1) { |it| it.on("hold") { "stolen" } }
      # This takes three leases, in which the request could have been taken over.
      expect(asking.join(3)).to be_nil
      expect(second.stats[:redelivered]).to eq(0)
    end

    it "gives up on a request that killed too many servers, and says so" do
      asking = calling("hold", timeout: 50)
      2.times do
        process = ruby(server_script.call("lease: 0.5, max_deliveries: 2"))
        expect(Array.new(2) { process.line }).to contain_exactly("ready", "started")
        process.kill
      end
      last = rpc_server(lease: 0.5, max_deliveries: 2) { |it| it.on("hold") { "ran" } }
      expect { asking.value }.to raise_error(RedisIPC::JSONRPC::Error, /given up on/) { |e|
                                   expect(e.code).to eq(-32_000)
                                 }
      expect(next_of(errors)).to be_a(RedisIPC::DeadLetteredError)
      expect(last.stats).to include(dead_lettered: 1)
      expect(JSON.parse(redis.lindex("calculator:dead", 0))).to include("method" => "hold")
    end

    it "gives a request moved back from the dead letters all its deliveries again, and never calls it unclaimed" do
      text = '{"jsonrpc":"2.0","method":"note"}'
      redis.zadd("calculator:servers", [[1, "dead"], [2, "other"]])
      redis.hset("calculator:deliveries", Digest::SHA1.hexdigest(text), 4)
      redis.lpush("calculator:processing:dead", text)
      ran = Queue.new
      server = rpc_server(lease: 0.2) { |it| it.on("note") { ran << true } }
      eventually { server.stats[:dead_lettered] == 1 }
      # This is the field that a client reads when it withdraws its request (docs/json_rpc.md).
      expect(redis.hgetall("calculator:deliveries")).to eq(Digest::SHA1.hexdigest(text) => "0")
      redis.lmove("calculator:dead", "calculator:processing:other", "LEFT", "LEFT")
      expect(next_of(ran)).to be(true)
      expect(redis.hvals("calculator:deliveries")).to eq(["1"])
    end

    it "counts equal texts once for each server that died" do
      ran = Queue.new
      redis.zadd("calculator:servers", 1, "dead")
      redis.lpush("calculator:processing:dead", ['{"jsonrpc":"2.0","method":"note"}'] * 150)
      server = rpc_server(lease: 0.2, max_deliveries: 2) { |it| it.on("note") { ran << true } }
      150.times { next_of(ran) }
      expect(server.stats).to include(redelivered: 150, dead_lettered: 0)
      expect(redis.hvals("calculator:deliveries")).to eq(["1"])
      expect(redis.exists("calculator:dead")).to eq(0)
    end

    it "puts back what it did not start, in order, when it leaves" do
      server = rpc_server(threads: 1)
      started = Queue.new
      gate = Queue.new
      ran = Queue.new
      server.on("run") do |number|
        (started << number) && gate.pop if number.zero?
        ran << number
      end
      # The server reads ahead only while methods are quick. On a busy machine they are sometimes slow.
      eventually do
        run_quickly(ran)
        6.times { |number| run_with(number) }
        next_of(started)
        next true if happens?(within: 0.5) { processing > 1 }

        gate << true
        6.times { next_of(ran) }
        false
      end
      leaving = Thread.new { server.disconnect }
      eventually { redis.llen("calculator") == 5 }
      gate << true
      leaving.join
      expect(redis.lrange("calculator", 0, -1).map { |text| JSON.parse(text)["params"].first }).to eq([5, 4, 3, 2, 1])
      expect(processing).to eq(0)
      expect(redis.exists("calculator:servers")).to eq(0)
    end

    it "leaves to others what still runs when it leaves" do
      first = server_process
      asking = calling("hold")
      first.line
      first.puts("leave")
      expect(first.line).to eq("left")
      rpc_server(lease: 0.5) { |it| it.on("hold") { "saved" } }
      expect(asking.value).to eq("saved")
    end
  end

  describe "at most once" do
    it "leaves nothing in Redis once a request is taken" do
      release = Queue.new
      rpc_server(guarantee: :at_most_once) { |it| it.on("run") { release.pop } }
      asking = calling("run")
      eventually { release.num_waiting == 1 }
      expect(keys_beside_records).to be_empty
      release << 5
      expect(asking.value).to eq(5)
    end

    it "loses what a killed server held, and runs it nowhere else" do
      first = server_process("guarantee: :at_most_once")
      asking = calling("hold", timeout: 3)
      first.line
      first.kill
      rpc_server(guarantee: :at_most_once) { |it| it.on("hold") { "ran twice" } }
      expect { asking.value }.to raise_error(RedisIPC::TimeoutError) { |error| expect(error.outcome).to eq(:unknown) }
    end

    it "opens one connection to end the read that waits, and none once it has ended" do
      connections = -> { redis.info("stats").fetch("total_connections_received").to_i }
      server = rpc_server(guarantee: :at_most_once) { |it| it.on("run") { 1 } }
      expect(calling("run").value).to eq(1)
      before = connections.call
      server.disconnect
      expect(connections.call - before).to eq(1)
    end

    it "puts back what it took and did not start" do
      gate = Queue.new
      ran = Queue.new
      server = rpc_server(threads: 1, guarantee: :at_most_once) do |it|
        it.on("run") do |number|
          ran << number
          gate.pop if number.zero?
        end
      end
      20.times { push('{"jsonrpc":"2.0","method":"run","params":[-1]}') }
      20.times { next_of(ran) }
      6.times { |number| push(%({"jsonrpc":"2.0","method":"run","params":[#{number}]})) }
      expect(next_of(ran)).to eq(0)
      leaving = Thread.new { server.disconnect }
      eventually { redis.llen("calculator") == 5 }
      gate << true
      leaving.join
      expect(redis.lrange("calculator", 0, -1).map { |text| JSON.parse(text)["params"].first }).to eq([5, 4, 3, 2, 1])
    end
  end

  %i[at_least_once at_most_once].each do |guarantee|
    it "goes on when connections break under load (#{guarantee})" do
      rpc_server(guarantee: guarantee, threads: 4) { |it| it.on("echo") { |value| value } }
      client = rpc_client
      lost = Queue.new
      threads = Array.new(4) do |thread|
        Thread.new do
          Array.new(100) do |number|
            client.call("echo", [thread, number], timeout: 3)
          rescue RedisIPC::CallError => e
            lost << e
            [thread, number]
          end
        end
      end
      3.times do
        redis.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        sleep 0.05
      end
      answers = threads.map(&:value)
      expect(answers).to eq(Array.new(4) { |thread| Array.new(100) { |number| [thread, number] } })
      expect(lost.size).to be <= 100
      expect(client.call("echo", 1)).to eq(1)
      stats = client.stats
      expect(stats[:requests]).to eq(stats.values_at(:fulfilled, :timed_out, :failed, :cancelled, :open_calls).sum)
      eventually { processing.zero? }
    end
  end

  it "goes on when Redis was restarted" do
    server = start_server
    options = { redis_options: { port: server.port } }
    serving = RedisIPC::JSONRPC::Server.new("q", **options).on_error { nil }.on("echo") { |value| value }.connect
    client = RedisIPC::JSONRPC::Client.new("q", **options).on_error { nil }.connect
    rpc_ends.push(serving, client)
    expect(client.call("echo", 1)).to eq(1)
    server.kill
    eventually { !client.connected? && !serving.connected? }
    expect { client.call("echo", 1) }.to raise_error(RedisIPC::ConnectionError) { |e|
                                           expect(e.outcome).to eq(:not_sent)
                                         }
    server.start
    eventually { client.connected? && serving.connected? }
    expect(client.call("echo", 2)).to eq(2)
  end

  it "works in a Redis Cluster with a queue whose keys are in one slot" do
    cluster = RedisCluster.new(masters: 3, replicas: 0)
    options = { redis_options: cluster.options }
    serving = RedisIPC::JSONRPC::Server.new("{q}", **options).on("echo") { |value| value }.connect
    client = RedisIPC::JSONRPC::Client.new("{q}", **options).connect
    rpc_ends.push(serving, client)
    expect(Array.new(20) { |number| client.call("echo", number) }).to eq([*0...20])
    expect { RedisIPC::JSONRPC::Client.new("q", **options).connect }
      .to raise_error(RedisIPC::ConnectionError, /part in braces/)
  ensure
    rpc_ends.each(&:disconnect)
    cluster&.stop
  end

  it "reconnects in a forked child by itself" do
    process = ruby(<<~RUBY)
      server = RedisIPC::JSONRPC::Server.new("parent").on("pid") { Process.pid }.connect
      client = RedisIPC::JSONRPC::Client.new("parent").connect
      other = RedisIPC::JSONRPC::Client.new("calculator").connect
      pid = fork do
        server.disconnect
        puts [client.connected?, other.call("pid")].inspect
        client.call("pid")
        puts "called"
        exit!(0)
      end
      Process.wait(pid)
      puts client.call("pid") == Process.pid
    RUBY
    rpc_server { |it| it.on("pid") { "here" } }
    expect(process.line).to match(/\A\[(true|false), "here"\]\z/)
    expect(process.line).to eq("called")
    expect(process.line).to eq("true")
  end
end

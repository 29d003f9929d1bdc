# frozen_string_literal: true

require_relative "../chaos/chaos"

# Which server holds a request, and which may take it over.
RSpec.describe "the leases of JSON-RPC" do
  note = '{"jsonrpc":"2.0","method":"note"}'

  def ms
    (Time.now.to_f * 1000).to_i
  end

  def blocked
    redis.info("clients")["blocked_clients"].to_i
  end

  def held_by(id)
    redis.llen("calculator:processing:#{id}")
  end

  # Returns the id of the server that was added to `calculator:servers`.
  def id_of_new
    before = redis.zrange("calculator:servers", 0, -1)
    server = yield
    [server, *(redis.zrange("calculator:servers", 0, -1) - before)]
  end

  describe "a server that died" do
    it "stays known while a read of its own may still take a request" do
      redis.zadd("calculator:servers", ms, "dead")
      dead = RedisServer.client(**redis_options)
      reading = Thread.new { dead.call("BLMOVE", "calculator", "calculator:processing:dead", "RIGHT", "LEFT", 10) }
      reading.report_on_exception = false
      eventually { blocked == 1 }
      ran = Queue.new
      rpc_server(lease: 0.1) { |it| it.on("note") { ran << true } }
      # This takes five leases, in which the other server could have forgotten it.
      happens?(within: 0.5) { redis.zscore("calculator:servers", "dead").nil? }
      push(note)
      eventually { held_by("dead") == 1 || ran.size == 1 }
      reading.kill
      expect(next_of(ran, timeout: 5)).to be(true)
      expect(held_by("dead")).to eq(0)
    end

    it "costs no script while it holds nothing" do
      20.times { |number| redis.zadd("calculator:servers", number, "dead#{number}") }
      rpc_server(lease: 0.1)
      redis.config(:resetstat)
      # The server checks all servers at least 5 times. From the second time on it knows that they are silent.
      eventually { redis.info("commandstats").dig("zrange", "calls").to_i >= 5 }
      expect(redis.info("commandstats")).not_to include("eval")
      redis.lpush("calculator:processing:dead7", note)
      eventually { held_by("dead7").zero? }
      expect(redis.zcard("calculator:servers")).to eq(21)
    end

    it "is found among more servers than are checked, which is reported once" do
      redis.eval("for i = 1, 10001 do redis.call('ZADD', KEYS[1], i, 'dead' .. i) end", keys: ["calculator:servers"])
      redis.lpush("calculator:processing:dead7", note)
      ran = Queue.new
      rpc_server(lease: 0.2) { |it| it.on("note") { ran << true } }
      expect(next_of(ran)).to be(true)
      expect(next_of(errors)).to be_a(RedisIPC::MalformedEntryError)
        .and have_attributes(message: /"calculator:servers" has more than 10000 rows.*ZREM/)
      redis.config(:resetstat)
      eventually { redis.info("commandstats").dig("zrange", "calls").to_i >= 3 }
      expect(errors).to be_empty
    end

    it "loses nothing that it took while it was stopped" do
      script = <<~RUBY
        RedisIPC::JSONRPC::Server.new("calculator", lease: 0.3).on("note") { nil }.connect
        puts "ready"
        sleep
      RUBY
      stopped, id = id_of_new { ruby(script).tap { |process| expect(process.line).to eq("ready") } }
      eventually { blocked == 1 }
      stopped.kill(:STOP)
      ran = Queue.new
      rpc_server(lease: 0.3) { |it| it.on("note") { |number| ran << number } }
      # This takes three leases, in which the server is taken for dead and could be forgotten.
      happens?(within: 0.9) { redis.zscore("calculator:servers", id).nil? }
      numbers = [*1..3]
      numbers.each { |number| push(%({"jsonrpc":"2.0","method":"note","params":[#{number}]})) }
      happens?(within: 0.3) { ran.size == 3 }
      stopped.kill
      expect(Array.new(3) { next_of(ran, timeout: 5) }).to match_array(numbers)
    end
  end

  it "finds what its own read took after it abandoned the connection" do
    proxy = Chaos::Proxy.new(RedisServer.shared.port)
    ran = Queue.new
    server = build_server(lease: 1, redis_options: { port: proxy.port })
    server.on("note") { ran << true }
    _, id = id_of_new { server.connect }
    eventually { blocked == 1 }
    reconnections = server.stats[:reconnections]
    proxy.abandon
    eventually { server.stats[:reconnections] > reconnections && server.connected? && blocked == 2 }
    push(note)
    expect(held_by(id)).to eq(1)
    expect(next_of(ran, timeout: 5)).to be(true)
    eventually { held_by(id).zero? }
    expect(server.stats).to include(taken: 1)
  ensure
    server&.disconnect
    proxy&.stop
  end

  describe "a request that was taken back" do
    # Takes a request from the queue like a server that runs it, and dies.
    def take_and_die
      redis.zadd("calculator:servers", ms, "dead")
      eventually { redis.call("LMOVE", "calculator", "calculator:processing:dead", "RIGHT", "LEFT") }
    end

    def outcome_of(client, **options)
      asking = Thread.new { client.call("echo", 1, **options) }
      asking.report_on_exception = false
      yield
      asking.value
    rescue RedisIPC::TimeoutError => e
      e.outcome
    end

    it "is not :unclaimed if a server had it before" do
      # The server takes over, and has no free thread.
      gate = Queue.new
      busy = Queue.new
      rpc_server(lease: 0.1, threads: 1) do |it|
        it.on("busy") do
          busy << true
          gate.pop
        end
      end
      push('{"jsonrpc":"2.0","method":"busy"}')
      next_of(busy)
      outcome = outcome_of(rpc_client, timeout: 1.5) do
        take_and_die
        eventually { redis.llen("calculator") == 1 }
      end
      expect(outcome).to eq(:unknown)
      expect(redis.llen("calculator")).to eq(0)
      gate << true
    end

    it "is not :unclaimed if the connection broke since it was sent: another Redis may not know who had it" do
      proxy = Chaos::Proxy.new(RedisServer.shared.port)
      client = rpc_client(redis_options: { port: proxy.port })
      outcome = outcome_of(client, timeout: 1) do
        eventually { redis.llen("calculator") == 1 }
        proxy.cut
      end
      expect(outcome).to eq(:unknown)
      expect(unclaimed { client.call("echo", 1, timeout: 0.1) }.outcome).to eq(:unclaimed)
      expect(redis.llen("calculator")).to eq(0)
    ensure
      client&.disconnect
      proxy&.stop
    end
  end

  describe "when Redis's clock steps" do
    let(:place) { Chaos::ClockedPlace.new }
    let(:at_place) { { redis_options: place.redis_options } }

    after { place.stop }

    [60, -60].each do |step|
      it "leaves alone what a living server holds (#{step} s)" do
        ran = Queue.new
        release = Queue.new
        method = proc do
          ran << true
          release.pop
        end
        build_server(lease: 0.4, **at_place).on("hold", &method).connect
        place.admin.lpush("calculator", '{"jsonrpc":"2.0","method":"hold"}')
        next_of(ran)
        place.clock.step(step)
        build_server(lease: 0.4, **at_place).on("hold", &method).connect
        # This takes four leases, in which the request could have been taken over.
        expect(happens?(within: 1.6) { ran.size.positive? }).to be(false)
        2.times { release << true }
      end

      it "takes over what a dead server held (#{step} s)" do
        place.admin.zadd("calculator:servers", (place.admin.time.first * 1000) + (step * 1000), "dead")
        place.admin.lpush("calculator:processing:dead", '{"jsonrpc":"2.0","method":"note"}')
        ran = Queue.new
        build_server(lease: 0.2, **at_place).on("note") { ran << true }.connect
        expect(next_of(ran, timeout: 3)).to be(true)
      end
    end

    it "answers at the latest the second call after a step ahead, and those that follow" do
      client = rpc_client(**at_place)
      place.clock.step(60)
      # This server knows the new time.
      build_server(**at_place).on("echo") { |value| value }.connect
      # The first call may still use the old time.
      begin
        client.call("echo", 1, timeout: 0.6)
      rescue RedisIPC::TimeoutError
        nil
      end
      expect(Array.new(3) { |number| client.call("echo", number, timeout: 2) }).to eq([0, 1, 2])
    end

    it "drops nothing after a step back before it has read the clock again" do
      build_server(**at_place).on("echo") { |value| value }.connect
      place.clock.step(-60)
      client = rpc_client(**at_place)
      expect(client.call("echo", 1, timeout: 2)).to eq(1)
    end
  end

  describe "after a failover to a server with another clock" do
    let(:elsewhere) { Chaos::ClockedPlace.new }
    let(:proxy) { Chaos::Proxy.new(RedisServer.shared.port) }

    after do
      rpc_ends.each(&:disconnect)
      proxy.stop
      elsewhere.stop
    end

    let(:through_proxy) { { redis_options: { port: proxy.port } } }

    def serve
      build_server(**through_proxy).on("echo") { |value| value }.connect
    end

    # Moves the connections of `opened` to a server whose clock differs by `seconds`. Returns it when they are up again.
    def through_failover(seconds, opened)
      elsewhere.clock.step(seconds)
      proxy.target = elsewhere.server.port
      proxy.cut
      eventually { opened.stats[:reconnections].positive? && opened.connected? }
      opened
    end

    it "a client uses the new clock" do
      asking = through_failover(6, rpc_client(**through_proxy))
      serve
      expect(asking.call("echo", 1, timeout: 2)).to eq(1)
    end

    it "a server drops nothing by the old clock" do
      through_failover(-6, serve)
      expect(rpc_client(**through_proxy).call("echo", 1, timeout: 2)).to eq(1)
    end
  end
end

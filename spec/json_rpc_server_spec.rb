# frozen_string_literal: true

RSpec.describe RedisIPC::JSONRPC::Server do
  def call(...)
    (@client ||= rpc_client).call(...)
  end

  def error_of
    yield
  rescue RedisIPC::JSONRPC::Error => e
    e
  end

  describe "#on" do
    it "takes parameters by position and by name, however they are declared" do
      rpc_server do |server|
        server.on("keywords") { |minuend:, subtrahend: 1| minuend - subtrahend }
        server.on(:positions) { |minuend, subtrahend = 1| minuend - subtrahend }
        server.on("mixed") { |first, *others, last: nil| [first, others, last] }
        server.on("any") { |*all, **named| [all, named] }
        server.on("none") { nil }
      end
      %w[keywords positions].each do |method|
        expect(call(method, 42, 23)).to eq(19)
        expect(call(method, subtrahend: 23, minuend: 42)).to eq(19)
        expect(call(method, 42)).to eq(41)
        expect(call(method, minuend: 42)).to eq(41)
        expect(error_of { call(method) }.code).to eq(-32_602)
        expect(error_of { call(method, 1, 2, 3) }.code).to eq(-32_602)
        expect(error_of { call(method, subtrahend: 23) }.code).to eq(-32_602)
        expect(error_of { call(method, minuend: 1, x: 2) }.data).to eq('no parameter is named "x"')
      end
      expect(call("mixed", 1, 2, 3)).to eq([1, [2, 3], nil])
      expect(call("mixed", first: 1, last: 2)).to eq([1, [], 2])
      expect(call("any", 1)).to eq([[1], {}])
      expect(call("any", a: 1)).to eq([[], { a: 1 }])
      expect(call("none")).to be_nil
      expect(error_of { call("none", 1) }.code).to eq(-32_602)
    end

    it "says which optional parameter by name needs another one before it" do
      rpc_server do |server|
        server.on("defaults") { |a = 1, b = 2, c = 3| [a, b, c] }
        server.on("any") { |a = 1, b = 2, **others| [a, b, others] }
        server.on("late") { |a = 1, b| [a, b] }
      end
      expect(call("defaults", b: 5, a: 4)).to eq([4, 5, 3])
      expect(error_of { call("defaults", b: 5) }.data)
        .to eq("the parameter b cannot be given without a, which stands before it")
      expect(error_of { call("defaults", a: 5, c: 5) }.data).to include("c cannot be given without b")
      expect(error_of { call("any", b: 5) }.data).to include("b cannot be given without a")
      expect(call("any", a: 5, c: 6)).to eq([5, 2, { c: 6 }])
      expect(call("late", b: 5)).to eq([1, 5])
      expect(error_of { call("late", a: 5) }.data).to eq("the parameter b is missing")
    end

    it "keeps the block's own self, and next ends it" do
      greeting = "Hello"
      rpc_server do |server|
        server.on("who") do |early = false|
          next "early" if early

          [self.class.name, greeting]
        end
      end
      expect(call("who")).to eq([self.class.name, "Hello"])
      expect(call("who", true)).to eq("early")
    end

    it "refuses names that mean nothing, or JSON-RPC itself" do
      server = build_server
      expect { server.on("rpc.discover") { nil } }.to raise_error(ArgumentError, /JSON-RPC's own/)
      expect { server.on(" ") { nil } }.to raise_error(ArgumentError)
      expect { server.on("a") }.to raise_error(ArgumentError)
    end
  end

  describe "#expose" do
    calculator = Class.new do
      def add(left, right) = left + right
      def secret = "secret"

      private

      def hidden = "hidden"
    end

    it "serves the methods that are listed and no other" do
      rpc_server { |it| it.expose(calculator.new, only: %w[add], prefix: "calc.") }
      expect(call("calc.add", 1, 2)).to eq(3)
      expect(call("calc.add", right: 1, left: 2)).to eq(3)
      expect(error_of { call("calc.add", 1) }.code).to eq(-32_602)
      %w[calc.secret secret calc.hidden calc.instance_eval].each do |name|
        expect(error_of { call(name) }.code).to eq(-32_601)
      end
    end

    it "refuses what is private, missing, or a method of every object" do
      server = build_server
      %w[hidden nothing send instance_eval object_id].each do |name|
        expect { server.expose(calculator.new, only: [name]) }.to raise_error(ArgumentError, /#{name}/)
      end
    end
  end

  describe "errors" do
    it "are the author's: raised, or mapped from exceptions" do
      missing = Class.new(StandardError)
      rpc_server do |server|
        server.on("raise") { raise RedisIPC::JSONRPC::Error.new("no money", code: 7, data: { left: 0 }) }
        server.on("mapped") { raise Class.new(missing), "row 3" }
        server.on("quiet") { Integer("x") }
        server.map_error(missing, code: 404) { |exception| { what: exception.message } }
        server.map_error(ArgumentError, code: 1, message: "bad number")
      end
      error = error_of { call("raise") }
      expect([error.message, error.code, error.data, error.stream]).to eq(["no money", 7, { left: 0 }, "calculator"])
      error = error_of { call("mapped") }
      expect([error.message, error.code, error.data]).to eq(["row 3", 404, { what: "row 3" }])
      expect(error_of { call("quiet") }.to_h).to eq(code: 1, message: "bad number")
      expect(errors).to be_empty
    end

    it "of unexpected exceptions, and of results that JSON cannot hold, go to on_error" do
      rpc_server do |server|
        server.on("boom") { raise NotImplementedError, "secret" }
        server.on("nan") { Float::NAN }
        server.on("data") { raise RedisIPC::JSONRPC::Error.new("x", data: "\xFF".b) }
      end
      { "boom" => NotImplementedError, "nan" => RedisIPC::ContentError, "data" => RedisIPC::ContentError }
        .each do |method, exception|
          expect(error_of { call(method) }.to_h).to eq(code: -32_603, message: "Internal error")
          expect(next_of(errors)).to be_a(exception)
        end
    end

    it "of a broken mapping go to on_error, and leave the rest of a batch alone" do
      rpc_server do |server|
        server.on("find") { raise KeyError, "row 3" }
        server.on("live") { true }
        server.map_error(KeyError, code: 404) { raise "broken mapping" }
      end
      failed, lived = (@client ||= rpc_client).batch do |batch|
        batch.call("find")
        batch.call("live")
      end
      expect([failed.to_h, lived]).to eq([{ code: -32_603, message: "Internal error" }, true])
      expect([next_of(errors), next_of(errors)].map(&:message)).to eq(["broken mapping", "row 3"])
      expect { build_server.map_error(KeyError, code: "404") }.to raise_error(ArgumentError, /Integer/)
    end

    it "that another server answered with are not passed on, unless they are mapped" do
      rpc_server("accounts") do |server|
        server.on("refuse") { raise RedisIPC::JSONRPC::Error.new("secret", code: 7, data: "secret") }
      end
      accounts = rpc_client("accounts")
      server = rpc_server { |it| it.on("ask") { accounts.call("refuse") } }
      expect(error_of { accounts.call("refuse") }).to have_attributes(code: 7, received?: true)
      expect(error_of { call("ask") }.to_h).to eq(code: -32_603, message: "Internal error")
      expect(next_of(errors)).to have_attributes(code: 7, message: "secret")
      server.map_error(RedisIPC::JSONRPC::Error, code: 502, message: "accounts refused")
      expect(error_of { call("ask") }.to_h).to eq(code: 502, message: "accounts refused")
    end

    it "of a method whose thread is killed are answered, and the thread replaced" do
      rpc_server(threads: 1) do |server|
        server.on("die") { Thread.current.kill }
        server.on("live") { true }
      end
      2.times { expect(error_of { call("die") }.code).to eq(-32_603) }
      expect(call("live")).to be(true)
    end
  end

  it "runs as many methods at the same time as it has threads" do
    both = Queue.new
    rpc_server(threads: 2) do |server|
      server.on("meet") do
        both << Thread.current
        eventually { both.size == 2 }
      end
    end
    client = rpc_client
    expect(Array.new(2) { Thread.new { client.call("meet") } }.map(&:value)).to eq([true, true])
  end

  it "shows its guarantee and checks its options" do
    expect(build_server.guarantee).to eq(:at_least_once)
    expect(build_server(guarantee: :at_most_once, threads: 7)).to have_attributes(guarantee: :at_most_once, threads: 7)
    { guarantee: :exactly_once, threads: 0, lease: "2", thread: 1, logger: 3, max_batch: 0,
      max_answer_size: 0 }.each do |name, value|
      expect { build_server(**{ name => value }) }.to raise_error(RedisIPC::ConfigurationError, /#{name}/)
    end
    [nil, "", " ", 3].each { |name| expect { described_class.new(name) }.to raise_error(ArgumentError) }
    expect { build_server("a:reply").connect }.to raise_error(ArgumentError, /share keys/)
  end

  it "refuses what is too large without reading it" do
    rpc_server(max_size: 1000) { |server| server.on("size", &:size) }
    expect(call("size", "a" * 500)).to eq(500)
    error = error_of { call("size", "a" * 1000) }
    expect([error.code, error.data]).to match([-32_600, /the limit is 1000/])
    push("x" * 1001)
    expect(next_of(errors).message).to include("the limit is 1000")
    expect(call("size", "a")).to eq(1)
  end

  it "sends no answer that is too large, but says so" do
    rpc_server(max_answer_size: 1000) { |server| server.on("text") { |size| "a" * size } }
    expect(call("text", 900).size).to eq(900)
    error = error_of { call("text", 1000) }
    expect([error.code, error.data]).to match([-32_603, /the limit is 1000/])
    expect(next_of(errors)).to be_a(RedisIPC::ContentError).and have_attributes(stream: "calculator")
  end

  it "sends no error that is too large, but says so" do
    rpc_server(max_answer_size: 1000) do |server|
      server.on("fail") { raise RedisIPC::JSONRPC::Error.new("no", code: 5, data: "a" * 1000) }
    end
    expect(error_of { call("fail") }).to have_attributes(code: -32_603, data: /the limit is 1000/)
  end

  it "starts no call of a batch whose answers have exceeded the limit" do
    ran = Queue.new
    rpc_server(max_answer_size: 10_000) do |server|
      server.on("text") do |number|
        ran << number
        "a" * 3000
      end
      server.on("note") { ran << :note }
    end
    results = rpc_client.batch do |batch|
      100.times { |number| batch.call("text", number) }
      batch.notify("note")
    end
    expect(results.first(3)).to eq(["a" * 3000] * 3)
    expect(results[3]).to have_attributes(code: -32_603, data: /the limit is 10000 .*max_answer_size/)
    expect(results.drop(4)).to all(have_attributes(code: RedisIPC::JSONRPC::NOT_STARTED, data: /max_answer_size/))
    expect(Array.new(ran.size) { ran.pop }).to eq([0, 1, 2, 3, :note])
    expect(next_of(errors)).to be_a(RedisIPC::ContentError)
  end

  it "keeps no memory for answers of a batch that it does not send", :aggregate_failures do
    process = ruby(<<~RUBY)
      server = RedisIPC::JSONRPC::Server.new("calculator", threads: 1).on_error { nil }
      server.on("text") { "a" * 1_000_000 }
      server.connect
      puts "ready"
      sleep
    RUBY
    expect(process.line).to eq("ready")
    results = rpc_client.batch(timeout: 20) { |batch| 1000.times { batch.call("text") } }
    expect(results.grep(String).size).to eq(16)
    # 1,000 of these answers would be 2.9 GB.
    expect(File.read("/proc/#{process.pid}/status")[/VmHWM:\s+(\d+)/, 1].to_i / 1024).to be < 250
  end

  it "finishes what it refuses, whatever the id" do
    rpc_server(max_size: 300, threads: 1) { |server| server.on("live") { true } }
    reply_to = JSONRPCEnds::REPLY_TO
    { "1e400" => nil, "-1e400" => nil, '"\ud800"' => nil, "true" => nil, "7" => 7, '"a"' => "a" }.each do |id, answered|
      push(%({"reply_to":"#{reply_to}","id":#{id},"x":"#{"x" * 300}"}))
      expect(JSON.parse(pop)).to include("id" => answered, "error" => include("code" => -32_600)), id
    end
    expect(call("live")).to be(true)
    eventually { redis.keys("calculator:processing:*").empty? }
  end

  it "answers nothing but JSON, even if the id is invalid" do
    server = build_server.on_error { nil }.on("echo") { |value| value }
    answer = server.answer({ jsonrpc: "2.0", method: "echo", params: [1], id: "\xFF".b })
    expect(answer).to eq(jsonrpc: "2.0", error: { code: -32_603, message: "Internal error" }, id: nil)
  end

  it "never starts a request whose deadline has passed" do
    ran = Queue.new
    now = redis.time.first * 1000
    { "late" => now - 1, "early" => now + 60_000 }.each do |name, deadline|
      push(JSON.generate(jsonrpc: "2.0", method: "run", params: [name], deadline: deadline))
    end
    server = rpc_server { |it| it.on("run") { |name| ran << name } }
    expect(next_of(ran)).to eq("early")
    eventually { server.stats.values_at(:taken, :expired, :held_requests) == [2, 1, 0] }
    eventually { redis.keys("calculator:processing:*").empty? }
  end

  it "starts no request of a batch after the deadline" do
    ran = Queue.new
    server = rpc_server(threads: 1) do |it|
      it.on("run") do |number|
        ran << number
        sleep 0.3
      end
    end
    client = rpc_client
    expect { client.batch(timeout: 0.5) { |batch| 4.times { |number| batch.call("run", number) } } }
      .to raise_error(RedisIPC::TimeoutError)
    eventually { server.stats[:expired] == 2 && server.stats[:held_requests].zero? }
    expect(Array.new(ran.size) { ran.pop }).to eq([0, 1])
  end

  it "costs next to nothing when idle" do
    rpc_server
    rpc_client
    # The server has three connections, the client two, and the example one.
    eventually { redis.client(:list).count { |other| other["cmd"] !~ /setname|NULL/i } >= 6 }
    redis.config(:resetstat)
    took = seconds { sleep 2 }
    commands = redis.info("commandstats").except("config|resetstat", "info").sum { |_, calls| calls["calls"].to_i }
    # A read of the server lasts for a lease at most. After it the server shows its heartbeat, and checks its own list
    # and those of others.
    expect(commands).to be_between(1, 6 * took)
  end
end

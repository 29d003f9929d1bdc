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

    it "keeps the block's own self, and next ends it" do
      greeting = "Hello"
      rpc_server do |server|
        server.on("who") do |early = false|
          next "early" if early

          [self.class, greeting]
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
      server = rpc_server { |it| it.expose(calculator.new, only: %w[add], prefix: "calc.") }
      expect(server.method_names).to eq(["calc.add"])
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

    it "of exceptions nobody expected, and of results that are no JSON, go to on_error" do
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
    { guarantee: :exactly_once, threads: 0, lease: "2", thread: 1, logger: 3, max_batch: 0 }.each do |name, value|
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

  it "never starts a request whose deadline has passed" do
    ran = Queue.new
    now = redis.time.first * 1000
    { "late" => now - 1, "early" => now + 60_000 }.each do |name, deadline|
      push(JSON.generate(jsonrpc: "2.0", method: "run", params: [name], deadline: deadline))
    end
    server = rpc_server { |it| it.on("run") { |name| ran << name } }
    expect(next_of(ran)).to eq("early")
    expect(server.stats).to include(taken: 2, expired: 1)
    eventually { redis.keys("calculator:processing:*").empty? }
  end

  it "costs next to nothing when idle" do
    rpc_server
    rpc_client
    # Three connections of the server's, two of the client's, and ours.
    eventually { redis.client(:list).count { |other| other["cmd"] !~ /setname|NULL/i } >= 6 }
    redis.config(:resetstat)
    sleep 2
    commands = redis.info("commandstats").except("config|resetstat", "info").sum { |_, calls| calls["calls"].to_i }
    expect(commands).to be_between(1, 7)
  end
end

# frozen_string_literal: true

require "logger"
require "stringio"

RSpec.describe "another program's text in the log" do
  def logged(text)
    RedisIPC.const_get(:LogText).of(text)
  end

  it "is unchanged if it is short and printable" do
    expect(["cook", "häuser ½", "x" * 100].map { |text| logged(text) }).to eq(["cook", "häuser ½", "x" * 100])
  end

  it "cannot imitate log lines, or hide a part of itself" do
    expect(logged("a\nb")).to eq('"a\nb"')
    expect(logged("\e[31mred")).to eq('"\e[31mred"')
    expect(logged("user\u202Etxt.exe")).to eq('"user\u{202E}txt.exe"')
    expect(logged("a\u200Bb")).to eq('"a\u{200B}b"')
    expect(logged("x" * 101)).to eq("#{("x" * 100).inspect}...")
  end

  it "may be binary" do
    expect([nil, 7].map { |object| logged(object) }).to eq(%w[nil 7])
    expect(["\xFFa", "\xFFa".b, "b".encode("UTF-16LE"), "a".b].map { |bytes| logged(bytes) })
      .to eq(['"\xFFa"', '"\xFFa"', '"b"', "a"]).and all(be_valid_encoding)
  end

  describe "that is the reason of a rejection" do
    def raised
      yield
    rescue RedisIPC::Error => e
      e
    end

    it "is a short part of a message, in one line, and whole in the response" do
      connect("child") { |entry| reject_request(entry, content: entry.content) }
      parent = connect("parent")
      # This is {:a=>1}, or {a: 1} in Ruby 3.4.
      key = { a: 1 }.inspect.delete_suffix("1}")
      { "x\n\u202E" * 100_000 => ' "x\n\u{202E}x\n', { a: ["\u202E\n" * 100_000] } => " #{key}[\"\\u{202E}\\n" }
        .each do |reason, start|
        error = raised { parent.send_to_group(content: reason, to: "child").value! }
        expect(error.message).to match(/\A[^\n\u202E]{500,3000}\.\.\.\z/).and include(start)
        expect(error.response.reason).to eq(reason)
      end
      expect(raised { parent.send_to_group(content: "closed", to: "child").value! }.message)
        .to eq('child rejected the request: "closed"')
    end

    it "is a short part of an OverloadedError's message, too, because any group may send one" do
      connect("child") { |_| raise RedisIPC::OverloadedError, "x\n" * 100_000 }
      future = connect("parent").async_send_to_group(content: 1, to: "child")
      error = raised { future.value }
      expect(error).to be_a(RedisIPC::OverloadedError)
      expect(error.message).to match(/\A[^\n]{500,2000}\.\.\.\z/)
      expect(future.response.reason.size).to be > 200_000
    end

    it "is a short part of how a dead letter is shown" do
      redis.xadd("house:inbox:child", { "hello" => "world" })
      letters = connect("child", &echo).dead_letters
      eventually { letters.size == 1 }
      id, fields = redis.xrange("house:dead:child").first
      redis.xdel("house:dead:child", id)
      redis.xadd("house:dead:child", fields.merge("dead_reason" => "x\n" * 1000))
      expect(letters.first.inspect).to match(/\A[^\n]{100,400}\z/)
      expect(letters.first.reason.size).to eq(2000)
    end
  end

  it "of an exception is a short part of a log line" do
    lines = Queue.new
    logger = Logger.new(nil, formatter: ->(_, _, _, text) { lines << text })
    allow(logger).to receive(:error) { |&text| lines << text.call }
    build("child") { |_| raise ArgumentError, "x" * 100_000 }
      .connect(redis_options: redis_options, logger: logger)
    connect("parent").async_send_to_group(content: 1, to: "child")
    expect(next_of(lines).lines.first).to match(/ArgumentError: x{3000,4000}\.\.\. \(request/)
  end

  def line(text)
    RedisIPC.const_get(:LogText).line(text)
  end

  it "is one line of any length in a message" do
    expect(line("grün #{"x" * 300}")).to eq("grün #{"x" * 300}")
    expect(line("a\r\nb\e[31m\u202E\u0085\u2028\x7F")).to eq('a\r\nb\e[31m\u{202E}\u0085\u{2028}\x7F')
    expect(line("\xFF\n".b)).to eq("\uFFFD\\n")
    expect(line("a\nb".encode("UTF-16LE"))).to eq('a\nb')
  end

  # A text that an attacker writes everywhere.
  let(:hostile) { "\e[31m\r\n2026-01-01 FATAL\u202E" }
  let(:unsafe) { /[[:cntrl:]\p{Cf}]/ }
  let(:lines) { Queue.new }
  let(:logger) do
    Logger.new(StringIO.new).tap { |one| one.formatter = ->(_, _, _, text) { (lines << text) && "" } }
  end

  def hostile_request(**changes)
    group = hostile.gsub(":", "%3A")
    { "id" => hostile, "instance_id" => hostile, "status" => "pending", "content" => "1", "source_group" => hostile,
      "destination_group" => hostile, "reply_to" => "house:replies:#{group}:x", "ttl" => "5000" }.merge(**changes)
  end

  it "is never raw in a log, a message or an inspect" do
    shown = Queue.new
    child = connect("child", logger: logger) do |entry|
      shown << entry.inspect
      raise entry.id
    end
    redis.xadd("house:inbox:child", hostile_request)
    redis.xadd("house:inbox:child", hostile_request("content" => hostile))
    redis.xadd("house:inbox:child", { hostile => hostile, "id" => hostile })
    messages = Array.new(3) { next_of(errors) }.grep(RedisIPC::Error).map(&:message)
    messages += Array.new(3) { next_of(lines)[/[^\n]*/] }
    told = [*messages, child.dead_letters.first.inspect, next_of(shown)]
    expect(told.size).to eq(7)
    expect(told.grep(unsafe)).to eq([])
    expect(told.join).to include("FATAL")
  end

  it "of an answer is never raw: in rejections, errors, inspect" do
    parent = connect("parent", logger: logger)
    errors = [["rejected", "Foo#{hostile}"], ["rejected", "RedisIPC::OverloadedError"]].map do |status, error|
      future = parent.async_send_to_group(content: 1, to: "child")
      _, request = eventually { redis.xrange("house:inbox:child").first }
      redis.xdel("house:inbox:child", redis.xrange("house:inbox:child").first.first)
      redis.xadd(request["reply_to"], { "id" => request["id"], "instance_id" => hostile, "status" => status,
                                        "content" => { hostile => hostile }.to_json, "error" => error,
                                        "source_group" => hostile, "destination_group" => "parent" })
      answer_or_error(future)
    end
    response, overloaded = errors
    expect { response.value! }.to raise_error(RedisIPC::RejectedError) { |e| lines << e.message }
    expect(response.value).to be_nil
    lines << response.inspect << overloaded.message
    told = Array.new(lines.size) { lines.pop }
    expect(told.size).to be >= 3
    expect(told.grep(unsafe)).to eq([])
    expect(overloaded).to be_a(RedisIPC::OverloadedError)
  end

  def answer_or_error(future)
    future.wait(5)
    response = future.response
    response.error == "RedisIPC::OverloadedError" ? response.send(:overload) : response
  end

  it "is unchanged where a JSON-RPC method sends it, and escaped where it was received" do
    own = RedisIPC::JSONRPC::Error.new(hostile)
    expect(own.to_h[:message]).to eq(hostile)
    expect(RedisIPC::JSONRPC::Error.new(hostile, received: true).message).to eq(line(hostile))
  end
end

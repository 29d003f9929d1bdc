# frozen_string_literal: true

require "logger"

RSpec.describe "a text of others in the log" do
  def logged(text)
    RedisIPC.const_get(:LogText).of(text)
  end

  it "stays as it is where it is short and printable" do
    expect(["cook", "häuser ½", "x" * 100].map { |text| logged(text) }).to eq(["cook", "häuser ½", "x" * 100])
  end

  it "cannot look like lines of the log, or hide a part of itself" do
    expect(logged("a\nb")).to eq('"a\nb"')
    expect(logged("\e[31mred")).to eq('"\e[31mred"')
    expect(logged("user\u202Etxt.exe")).to eq('"user\u{202E}txt.exe"')
    expect(logged("a\u200Bb")).to eq('"a\u{200B}b"')
    expect(logged("x" * 101)).to eq("#{("x" * 100).inspect}...")
  end

  it "may be no text" do
    expect([nil, 7].map { |object| logged(object) }).to eq(%w[nil 7])
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
      { "x\n\u202E" * 100_000 => ' "x\n\u{202E}x\n', { a: ["\u202E\n" * 100_000] } => ' {:a=>["\u{202E}\n' }
        .each do |reason, start|
        error = raised { parent.send_to_group(content: reason, to: "child").value! }
        expect(error.message).to match(/\A[^\n\u202E]{500,3000}\.\.\.\z/).and include(start)
        expect(error.response.reason).to eq(reason)
      end
      expect(raised { parent.send_to_group(content: "closed", to: "child").value! }.message)
        .to eq('child rejected the request: "closed"')
    end

    it "is a short part of an OverloadedError's message, too: any group may say it was that" do
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

  it "that is an exception's is a short part of a line of the log" do
    lines = Queue.new
    logger = Logger.new(nil, formatter: ->(_, _, _, text) { lines << text })
    allow(logger).to receive(:error) { |&text| lines << text.call }
    build("child") { |_| raise ArgumentError, "x" * 100_000 }
      .connect(redis_options: redis_options, logger: logger)
    connect("parent").async_send_to_group(content: 1, to: "child")
    expect(next_of(lines).lines.first).to match(/ArgumentError: x{3000,4000}\.\.\. \(request/)
  end
end

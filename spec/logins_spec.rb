# frozen_string_literal: true

require "logger"

# redis_options that are written for redis-rb: Procs for passwords, texts for numbers, and options of redis-rb only.
RSpec.describe "redis_options" do
  let(:server) { start_server(requirepass: "one") }

  def cut(server)
    server.client.call("CLIENT", "KILL", "TYPE", "NORMAL", "SKIPME", "yes")
  end

  RSpec::Matchers.define_negated_matcher :exclude, :include

  def answers?(stream)
    stream.send_to_group(content: 1, to: "both", timeout: 2).value == 1
  rescue RedisIPC::CallError
    false
  end

  describe "with a Proc for the password" do
    it "calls it at each login" do
      password = "one"
      calls = Queue.new
      stream = build("both", &echo)
      stream.connect(redis_options: { port: server.port, password: -> { (calls << Thread.current) && password } })
      expect(answers?(stream)).to be(true)
      before = calls.size
      expect(before).to be >= 3
      password = "two"
      server.client.call("CONFIG", "SET", "requirepass", "two")
      cut(server)
      eventually { stream.stats[:reconnections].positive? && answers?(stream) }
      expect(calls.size).to be > before
      expect(Array.new(calls.size) { calls.pop }).not_to include(Thread.current)
    end

    it "and one for the user name, which is passed to that for the password if it takes an argument" do
      server.client.call("ACL", "SETUSER", "ann", "on", ">ann's", "~*", "&*", "+@all")
      given = Queue.new
      options = { port: server.port, username: -> { "ann" }, password: ->(name) { (given << name) && "#{name}'s" } }
      expect(answers?(build("both", &echo).connect(redis_options: options))).to be(true)
      expect(next_of(given)).to eq("ann")
      options = { "port" => server.port, "username" => "ann", "password" => ->(name) { "#{name}'s" } }
      expect(answers?(build("both", &echo).connect(redis_options: options))).to be(true)
    end

    it "takes whatever can be called, for a JSON-RPC server and client too" do
      token = Class.new { def call = "one" }.new
      options = { redis_options: { port: server.port, password: token } }
      serving = RedisIPC::JSONRPC::Server.new("q", **options).on("twice") { |number| number * 2 }.connect
      calling = RedisIPC::JSONRPC::Client.new("q", **options).connect
      expect(calling.call("twice", 4)).to eq(8)
    ensure
      [calling, serving].compact.each(&:disconnect)
    end

    {
      "raises" => [-> { raise KeyError, "hunter2" }, /redis_options.password raised KeyError/],
      "has no class of its own to raise" => [-> { raise Class.new(StandardError), "hunter2" }, /raised an exception/],
      "gives no text" => [-> {}, /raised TypeError/],
      "gives what is no UTF-8" => [-> { "\xFF".b }, /raised Encoding::UndefinedConversionError/],
      "throws" => [-> { throw :out }, /raised UncaughtThrowError/]
    }.each do |what, (callable, message)|
      it "says so when it #{what}" do
        stream = build("both")
        expect { stream.connect(redis_options: { port: server.port, password: callable }) }
          .to raise_error(RedisIPC::ConnectionError, message) { |e| expect(e.full_message).not_to include("hunter2") }
        eventually { Thread.list.filter_map(&:name).grep(/redis_ipc login/).empty? }
      end
    end

    it "recovers when one that raised no longer does, and reports to on_error in between" do
      broken = false
      password = -> { broken ? raise(IOError, "hunter2") : "one" }
      stream = build("both", &echo).connect(redis_options: { port: server.port, password: password })
      broken = true
      cut(server)
      expect(next_of(errors).message).to include("Redis closed the connection")
      expect(next_of(errors).message).to match(/redis_options.password raised IOError/).and exclude("hunter2")
      broken = false
      eventually { answers?(stream) }
    end

    it "and a server that refuses the new password, tells on_error once why it does not reconnect" do
      stream = build("both", &echo).connect(redis_options: { port: server.port, password: -> { "one" } })
      server.client.call("CONFIG", "SET", "requirepass", "two")
      cut(server)
      next_of(errors)
      expect(next_of(errors)).to be_a(RedisIPC::CommandError).and have_attributes(message: /WRONGPASS/)
      server.client.call("CONFIG", "SET", "requirepass", "one")
      eventually { answers?(stream) }
      expect(errors).to be_empty
    end

    it "does not wait for one that hangs: neither connect nor disconnect nor the next login" do
      gate = Queue.new
      hanging = true
      password = -> { hanging ? gate.pop : "one" }
      options = { redis_options: { port: server.port, password: password, connect_timeout: 0.4 } }
      took = seconds do
        expect { build("both").connect(**options) }
          .to raise_error(RedisIPC::ConnectionError, /redis_options.password did not return within connect_timeout/)
      end
      expect(took).to be < 3
      hanging = false
      stream = build("both", &echo).connect(**options)
      hanging = true
      cut(server)
      next_of(errors)
      expect(seconds { stream.disconnect(timeout: 1) }).to be < 5
      10.times { gate << "one" }
    end

    it "is called in a fork, too" do
      process = ruby(<<~RUBY, redis_url: "redis://127.0.0.1:#{server.port}")
        stream = RedisIPC::Stream.new("house", "both")
        stream.on_request { |entry| fulfill_request(entry, content: entry.content) }
        stream.connect(redis_options: { password: -> { "one" } })
        child = fork { puts stream.send_to_group(content: "from the child", to: "both").value }
        Process.wait(child)
        puts stream.send_to_group(content: "from the parent", to: "both").value
      RUBY
      expect([process.line, process.line]).to eq(["from the child", "from the parent"])
    end

    it "leaves no thread behind" do
      stream = build("both", &echo).connect(redis_options: { port: server.port, password: -> { "one" } })
      expect(Thread.list.filter_map(&:name).grep(/login . house.both/).size).to eq(2)
      stream.disconnect
      eventually { Thread.list.filter_map(&:name).grep(/login . house.both/).empty? }
    end
  end

  it "accepts the options of redis-rb" do
    options = { port: server.port.to_s, db: "3", password: "one", tcp_keepalive: { time: 30, intvl: 20, probes: 2 },
                reconnect_attempts: [0, 0.5], reconnect_delay: 0.1, reconnect_delay_max: 2.5, scheme: "redis",
                logger: Logger.new(nil), driver: Class.new, custom: { object: Object.new }, middlewares: [Module.new],
                inherit_socket: true, id: "me", timeout: 5 }
    stream = build("both", &echo).connect(redis_options: options)
    expect(answers?(stream)).to be(true)
    server.client.select(3)
    expect(server.client.keys).to include("house:inbox:both")
    expect(RedisIPC::JSONRPC::Client.new("q", redis_options: options).connect.disconnect).not_to be_connected
  end

  it "refuses texts that are not numbers, and does not show them" do
    { port: "6379x", db: "one", scheme: "http" }.each do |name, value|
      expect { build("both").connect(redis_options: { name => value }) }
        .to raise_error(RedisIPC::ConfigurationError, /redis_options.#{name}/) { |error|
          expect(error.message).not_to include(value)
        }
    end
  end

  it "finds relative files after a change of directory, for JSON-RPC too" do
    process = ruby(<<~RUBY, redis_url: "")
      Dir.chdir(#{File.dirname(start_server.path).inspect})
      ends = [RedisIPC::JSONRPC::Server, RedisIPC::JSONRPC::Client].map do |kind|
        kind.new("sums", redis_options: { path: "redis.sock" })
      end
      Dir.chdir("/")
      ends.first.on("sum") { |*numbers| numbers.sum }
      ends.each(&:connect)
      puts ends.last.call("sum", 1, 2, timeout: 9)
      fork { puts ends.last.call("sum", 2, 3, timeout: 9) }
      Process.wait
    RUBY
    expect([process.line, process.line]).to eq(%w[3 5])
  end

  it "finds relative files after a change of directory" do
    certificates = Certificates.new
    certificate, key = certificates.for("server")
    port = RedisServer.free_port
    tls = start_server(tls_port: port, tls_cert_file: certificate, tls_key_file: key,
                       tls_ca_cert_file: certificates.authority_file, tls_auth_clients: "no")
    process = ruby(<<~RUBY, redis_url: "")
      streams = [{ path: "redis.sock" },
                 { url: "rediss://localhost:#{port}", ssl_params: { ca_file: "authority.crt" } }].map do |options|
        stream = RedisIPC::Stream.new("house", "both").on_error { |_| nil }
        stream.on_request { |entry| fulfill_request(entry, content: 1) }
        Dir.chdir(options[:path] ? #{File.dirname(tls.path).inspect} : #{certificates.folder.inspect})
        stream.connect(redis_options: options)
      end
      Dir.chdir("/")
      puts "connected"
      $stdin.gets
      puts streams.map { |stream| stream.send_to_group(content: 1, to: "both", timeout: 9).value }.inspect
      fork { puts streams.map { |stream| stream.send_to_group(content: 1, to: "both", timeout: 9).value }.inspect }
      Process.wait
    RUBY
    expect(process.line).to eq("connected")
    tls.client.call("CLIENT", "KILL", "TYPE", "NORMAL", "SKIPME", "yes")
    process.puts("go on")
    expect([process.line, process.line]).to eq(["[1, 1]", "[1, 1]"])
  ensure
    certificates&.remove
  end
end

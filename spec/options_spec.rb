# frozen_string_literal: true

require "logger"
require "openssl"
require "pathname"
require "uri"

RSpec.describe "the options of connect" do
  def refusal(**options)
    build("parent").connect(**options)
  rescue RedisIPC::ConfigurationError => e
    e.message
  end

  it "names an unknown key and what is known" do
    expect(refusal(pol_size: 1)).to match(/unknown option pol_size; known here: .*pool_size/)
    expect(refusal(consumer: { size: 1 })).to match(/unknown option consumer.size; known here: pool_size/)
    expect(refusal(redis_options: { hots: "x" })).to match(/unknown option redis_options.hots/)
  end

  it "names a wrong type and what was expected" do
    {
      { pool_size: "10" } => /pool_size must be an Integer from 1 to 1000, got "10"/,
      { pool_size: 0 } => /pool_size must be an Integer from 1/,
      { max_pool_size: 1 } => /max_pool_size must be at least pool_size/,
      { ledger: [] } => /ledger must be a Hash/,
      { ledger: { entry_timeout: 0 } } => /ledger.entry_timeout must be a number of seconds over 0/,
      { ledger: { cleanup_interval: nil, entry_timeout: "5" } } => /ledger.entry_timeout/,
      { consumer: { pool_size: 2.5 } } => /consumer.pool_size must be an Integer/,
      { consumer: { delivery: :twice } } => /consumer.delivery must be :at_least_once or :at_most_once/,
      { dispatcher: { execution_interval: -1 } } => /dispatcher.execution_interval/,
      { redis_options: { port: "x" } } => /redis_options.port must be an Integer from 1 to 65535/,
      { redis_options: { url: "http://x" } } => /redis_options.url must be a redis:/,
      { redis_options: "redis://x" } => /redis_options must be a Hash/,
      { logger: "log" } => /logger must respond to error, warn, info, got a String/,
      { reconnect_after_fork: 1 } => /reconnect_after_fork must be true or false/,
      { pool_size: Float::NAN } => /an option cannot be read: pool_size is NaN/,
      { ledger: { entry_timeout: -Float::INFINITY } } => /an option cannot be read: ledger.entry_timeout is -Infinity/,
      { redis_options: { sentinels: [{ "host" => "a", host: "b" }] } } =>
        /an option cannot be read: redis_options.sentinels.0 has two names that are "host"/,
      { pool_size: 2**70 } => /pool_size must be an Integer from 1 to 1000, got 1.18/,
      { pool_size: -5 } => /pool_size must be an Integer from 1 to 1000, got -5/
    }.each { |options, message| expect(refusal(**options)).to match(message) }
  end

  it "refuses in the same way what JSON-RPC is given" do
    expect { RedisIPC::JSONRPC::Server.new("q", lease: Float::NAN) }
      .to raise_error(RedisIPC::ConfigurationError, /an option cannot be read: lease is NaN/)
    expect { RedisIPC::JSONRPC::Client.new("q", redis_options: { host: "\xff" }) }
      .to raise_error(RedisIPC::ConfigurationError, /redis_options.host is a String that is no text/)
  end

  it "takes texts in any encoding" do
    url = RedisServer.shared.url
    [url.encode("UTF-16LE"), url.b, url.to_sym].each do |text|
      expect(build("parent").connect(redis_options: { url: text }).disconnect).not_to be_connected
    end
  end

  it "takes numbers of any class for seconds, and for whole numbers Integers" do
    require "bigdecimal"
    process = ruby(<<~RUBY)
      require "bigdecimal"
      require "active_support/duration"
      require "active_support/core_ext/numeric/time"
      [5r, BigDecimal("5"), 5.0, 5, 5.seconds].each do |five|
        url = { redis_options: { url: ENV.fetch("REDIS_URL"), timeout: five, connect_timeout: five } }
        ledger = { entry_timeout: five, cleanup_interval: five, max_timeout: five * 60 }
        RedisIPC::Stream.new("house", "parent").connect(ledger: ledger, consumer: { lease: five, execution_interval: five },
                                                        dispatcher: { execution_interval: five }, **url).disconnect
        RedisIPC::JSONRPC::Server.new("q", lease: five, answer_expiry: five, **url).connect.disconnect
        RedisIPC::JSONRPC::Client.new("q", timeout: five, **url).connect.disconnect
      end
      puts "done"
    RUBY
    expect(process.line).to eq("done")
    expect(refusal(pool_size: 5r)).to match(/pool_size must be an Integer from 1 to 1000, got 5.0/)
    expect(refusal(ledger: { entry_timeout: Complex(5, 1) })).to match(/entry_timeout must be a number of seconds/)
    expect(refusal(ledger: { entry_timeout: -1r })).to match(/entry_timeout must be a number of seconds/)
  end

  it "takes paths and URIs as their text, and says what cannot be an option" do
    stream = build("parent").connect(redis_options: { path: Pathname(RedisServer.shared.path), driver: Class.new,
                                                      custom: Logger.new(nil) })
    expect(stream).to be_connected
    expect(build("other").connect(redis_options: { url: URI(RedisServer.shared.url) })).to be_connected
    expect(refusal(redis_options: { host: Object.new })).to match(/redis_options.host must be a String, got a Hash/)
    expect(refusal(pool_size: Object.new)).to include("pool_size must be an Integer", '{"an instance of":"Object"}')
  end

  it "never shows a secret" do
    messages = [
      refusal(redis_options: { password: [:hunter2] }),
      refusal(redis_options: { url: "nonsense://:hunter2@host" }),
      refusal(redis_options: { ssl_params: { key: "hunter2" } }),
      refusal(redis_options: { password: "hunter2\xff" })
    ]
    expect(messages).to all(be_a(String))
    expect(messages.join).not_to include("hunter2")
  end

  it "accepts Strings and Symbols, and everything at its documented default" do
    stream = build("parent").connect(
      redis_options: { "path" => RedisServer.shared.path, driver: :hiredis, reconnect_attempts: 3 },
      logger: nil, pool_size: 10, max_pool_size: nil, max_content_size: 16 * 1024 * 1024,
      reconnect_after_fork: true,
      ledger: {
        entry_timeout: 5, cleanup_interval: 1, max_timeout: 3600, max_open_calls: nil,
        busy_poll: true
      },
      consumer: {
        pool_size: 3, execution_interval: 0.01, delivery: :at_least_once, lease: 2, max_deliveries: 5, busy_poll: true
      },
      dispatcher: { pool_size: 2, execution_interval: 0.01 }
    )
    expect(stream).to be_connected
  end

  it "takes REDIS_URL by default" do
    process = ruby(<<~RUBY)
      puts RedisIPC::Stream.new("house", "parent").connect.connected?
    RUBY
    expect(process.line).to eq("true")
  end

  it "takes OpenSSL objects as their PEM text" do
    key = OpenSSL::PKey::RSA.new(1024)
    certificate = OpenSSL::X509::Certificate.new.tap { |made| made.public_key = key.public_key }
    certificate.sign(key, "SHA256")
    options = { ssl: true, ssl_params: { cert: certificate, key: key, verify_mode: OpenSSL::SSL::VERIFY_NONE } }
    # The shared server has no TLS. It only matters that the options were accepted.
    expect { build("parent").connect(redis_options: { url: RedisServer.shared.url, connect_timeout: 0.5, **options }) }
      .to raise_error(RedisIPC::ConnectionError)
  end

  it "logs errors with the logger" do
    lines = StringIO.new
    connect("child", logger: Logger.new(lines)) { raise "bang" }
    connect("parent").send_to_group(content: 1, to: "child")
    next_of(errors)
    expect(lines.string).to match(%r{ERROR.*redis_ipc house/child: RuntimeError: bang})
  end

  it "connects by URL, with a database number and a password" do
    server = start_server(requirepass: "secret")
    url = "redis://:secret@127.0.0.1:#{server.port}/3"
    stream = build("both", &echo).connect(redis_options: { url: url })
    expect(stream.send_to_group(content: 1, to: "both").value).to eq(1)
    server.client.select(3)
    expect(server.client.keys).to include("house:inbox:both")
  end

  describe "if Redis cannot be used" do
    it "raises ConnectionError, with the address and without the password" do
      url = "redis://ann:hunter2@127.0.0.1:#{RedisServer.free_port}/0"
      expect { build("parent").connect(redis_options: { url: url }) }
        .to raise_error(RedisIPC::ConnectionError) { |error|
          expect(error).to have_attributes(outcome: :not_sent, stream: "house", group: "parent")
          expect(error.redis).to match(%r{\Aredis://127.0.0.1:\d+/0\z})
          expect(error.full_message).not_to include("hunter2")
        }
    end

    it "raises when the password is wrong" do
      server = start_server(requirepass: "secret")
      url = "redis://:wrong@127.0.0.1:#{server.port}"
      expect { build("parent").connect(redis_options: { url: url }) }
        .to raise_error(RedisIPC::CallError, /WRONGPASS|invalid/) { |error|
          expect(error.full_message).not_to include("wrong@")
        }
    end

    it "stays disconnected and can try again" do
      stream = build("both", &echo)
      nowhere = { port: RedisServer.free_port, connect_timeout: 0.2 }
      expect { stream.connect(redis_options: nowhere) }.to raise_error(RedisIPC::ConnectionError)
      expect(stream).not_to be_connected
      stream.connect(redis_options: redis_options)
      expect(stream.send_to_group(content: 1, to: "both").value).to eq(1)
    end
  end
end

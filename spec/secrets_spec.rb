# frozen_string_literal: true

require "logger"
require "stringio"
require "uri"

# Puts a password wherever a user may put one, rightly or wrongly, and then searches every text that the gem makes.
require "redis_ipc/rails/configuration"

RSpec.describe "secrets" do
  secret = "hunter2-p@ss:w/rd%"
  encoded = URI.encode_www_form_component(secret)
  # The forms of the secret: as it is, in a URL, and the part that remains if it is cut at any of its special
  # characters.
  forms = [secret, encoded, "hunter2"]
  closed = "127.0.0.1:1"

  define_method(:expect_no_secret) do |*texts|
    texts.each { |text| forms.each { |form| expect(text).not_to include(form) } }
  end

  # Returns everything that an exception says, including its causes.
  def words(error)
    chain = []
    while error
      chain << error
      error = error.cause
    end
    chain.flat_map do |one|
      [one.message, one.inspect, one.full_message(highlight: false), *one.backtrace.to_a,
       *one.instance_variables.map { |name| one.instance_variable_get(name).inspect }]
    end.compact
  end

  {
    "a password nobody listens to" => { host: "127.0.0.1", port: 1, password: secret },
    "a user and a password" => { host: "127.0.0.1", port: 1, username: "ann", password: secret },
    "a URL" => { url: "redis://:#{encoded}@#{closed}/0" },
    "a URL with a user" => { url: "redis://ann:#{encoded}@#{closed}/0" },
    "a URL not encoded" => { url: "redis://:#{secret}@#{closed}/0" },
    "a URL with a raw number sign" => { url: "redis://:12#hunter2@#{closed}" },
    "a URL with a raw at sign" => { url: "redis://:12@hunter2@#{closed}" },
    "a URL with both" => { url: "redis://:12@hunter2#x@#{closed}" },
    "a URL with a raw slash" => { url: "redis://hunter2:12/x@#{closed}" },
    "a URL with a raw question mark" => { url: "redis://hunter2:12?x@#{closed}" },
    "a node with a raw at sign" => { cluster: ["redis://:12@hunter2#x@#{closed}"] },
    "a Proc" => { host: "127.0.0.1", port: 1, password: -> { secret } },
    "a URL of another scheme" => { url: "http://:#{encoded}@#{closed}/0" },
    "a URL without a host" => { url: "redis://:#{encoded}@" },
    "a URL with a bad port" => { url: "redis://:#{encoded}@h:99999" },
    "a URL with a bad database" => { url: "redis://:#{encoded}@#{closed}/#{encoded}" },
    "a URL with a query" => { url: "redis://#{closed}/0?password=#{encoded}" },
    "a URL by TLS" => { url: "rediss://:#{encoded}@#{closed}" },
    "a URL of a unix socket" => { url: "unix:///nowhere.sock?pass=#{encoded}&user=ann" },
    "a URL that is only the password" => { url: secret },
    "a password in an Array" => { password: [secret] },
    "a password in a Hash" => { password: { secret: secret } },
    "a Symbol" => { host: "127.0.0.1", port: 1, password: secret.to_sym },
    "a password as the port" => { port: secret },
    "a password as the database" => { db: secret },
    "a password as a timeout" => { timeout: secret },
    "a password as the role" => { role: secret },
    "a password as ssl" => { ssl: secret },
    "a password as ssl_params" => { ssl_params: secret },
    "a password as the verify mode" => { ssl_params: { verify_mode: secret } },
    "a key that is none" => { url: "rediss://#{closed}", ssl_params: { cert: "x", key: "-----BEGIN #{secret}" } },
    "a key without a certificate" => { ssl_params: { key: "-----BEGIN #{secret}" } },
    "the password of sentinels" =>
      { sentinels: [{ host: "127.0.0.1", port: 1 }], name: "m", sentinel_password: secret, password: secret },
    "a password in a sentinel" => { sentinels: [{ host: "127.0.0.1", port: 1, password: secret }], name: "m" },
    "a sentinel as a URL" => { sentinels: ["redis://:#{encoded}@h"], name: "m" },
    "sentinels that are a String" => { sentinels: secret, name: "m" },
    "options that are a URL" => "redis://:#{encoded}@#{closed}"
  }.each do |what, options|
    it "are in no text about #{what}" do
      log = StringIO.new
      stream = build("parent")
      error = begin
        stream.connect(redis_options: options, logger: Logger.new(log))
      rescue RedisIPC::Error, ArgumentError => e
        e
      end
      expect(error).to be_a(Exception)
      expect_no_secret(*words(error), stream.inspect, stream.to_s, log.string)
    end
  end

  it "are not in REDIS_URL's refusal" do
    process = ruby(<<~RUBY, redis_url: "redis://:#{encoded}@h:port")
      begin
        RedisIPC::Stream.new("house", "a").connect
      rescue RedisIPC::ConfigurationError => e
        puts e.full_message.inspect
      end
    RUBY
    said = process.line
    expect(said).to include("url")
    expect_no_secret(said)
  end

  it "are not in the inspect of a connected stream, nor in its errors when Redis refuses or goes down" do
    server = start_server(requirepass: secret)
    log = StringIO.new
    options = { host: "127.0.0.1", port: server.port, password: secret, timeout: 5 }
    stream = build("both", &echo).connect(redis_options: options, logger: Logger.new(log))
    future = stream.async_send_to_group(content: 1, to: "both")
    response = future.response
    clients = RedisServer.client(path: server.path, password: secret).call("CLIENT", "LIST")
    expect(clients).to include("name=redis_ipc")
    shown = [stream, future, response, stream.stats, stream.instances].flat_map do |object|
      [object.inspect, object.to_s]
    end
    expect_no_secret(clients, *shown)

    wrong = options.merge(password: "#{secret}x")
    expect { build("wrong").connect(redis_options: wrong) }
      .to raise_error(RedisIPC::CommandError) { |error| expect_no_secret(*words(error)) }
    server.kill
    expect { stream.send_to_group(content: 2, to: "both", timeout: 2) }
      .to raise_error(RedisIPC::CallError) { |error| expect_no_secret(*words(error)) }
    expect_no_secret(*words(next_of(errors)), log.string)
  end

  it "are in no object's inspect" do
    stream = build("both").connect(redis_options: { **redis_options, password: nil, username: nil,
                                                                     sentinel_password: secret })
    # This also searches objects of previous examples.
    ours = ObjectSpace.each_object(Object).select { |object| object.class.name.to_s.start_with?("RedisIPC") }
    expect(ours).to include(stream)
    shown = ours.map do |object|
      object.inspect
    rescue StandardError => e
      raise "a #{object.class} cannot be shown: #{e.full_message}"
    end
    expect_no_secret(*shown)
  end

  it "are not in the inspect of a Rails application's configuration" do
    configuration = RedisIPC::OnRails::Configuration.allocate
    configuration.instance_variable_set(:@values, { redis_options: { password: "hunter2" } })
    expect(configuration.inspect).not_to include("hunter2")
  end
end

# frozen_string_literal: true

require "net/http"

RSpec.describe RedisIPC::Probes do
  let(:gate) { Queue.new }
  let(:begun) { Queue.new }

  after do
    gate.close
    (@listeners || []).each(&:close)
  end

  def get(probes, path, method = "GET")
    probes.call({ "REQUEST_METHOD" => method, "PATH_INFO" => path })
  end

  # Returns the status and the text.
  def look(probes, path)
    get(probes, path).values_at(0, 2).flatten
  end

  def listen(**options)
    described_class.listen(port: 0, **options).tap { |listener| (@listeners ||= []) << listener }
  end

  # Returns a handler that waits at the gate.
  def hanging
    begun = self.begun
    gate = self.gate
    proc { |_| (begun << 1) && gate.pop }
  end

  describe "/livez" do
    let(:probes) { described_class.new(stuck_after: 0.05) }

    it "fails once all handlers of a stream run on after their deadlines, and says where they are" do
      connect("child", consumer: { pool_size: 2 }, &hanging)
      parent = connect("parent")
      parent.async_send_to_group(content: 1, to: "child", timeout: 0.1)
      next_of(begun)
      parent.async_send_to_group(content: 1, to: "child", timeout: 0.6)
      next_of(begun)
      expect(look(probes, "/livez")).to eq([200, "ok\n"])
      started = now
      text = eventually { look(probes, "/livez").last.then { |found| found if found != "ok\n" } }
      expect(now - started).to be > 0.4
      expect(text).to match(%r{\Ahouse/child: all 2 handlers hang, the oldest for 1 s, at \S*probes_spec\.rb:\d+:in })
      # Those who only ask cannot hang.
      expect(text.lines.size).to eq(1)
      gate << 1
      expect(eventually { look(probes, "/livez").first == 200 }).to be(true)
    end

    it "waits as long as told for a stream's handlers whose callers have given up" do
      connect("child", consumer: { pool_size: 1 }, &hanging)
      connect("parent").async_send_to_group(content: 1, to: "child", timeout: 0.05)
      next_of(begun)
      eventually { look(probes, "/livez").first == 503 }
      expect(look(described_class.new, "/livez").first).to eq(200)
    end

    it "fails for methods of JSON-RPC and events that run for longer than told" do
      rpc_server(threads: 1) { |server| server.on("hang", &hanging) }
      rpc_client.notify("hang", 1)
      consume(concurrency: { threads: 1 }, &hanging)
      publish(1)
      2.times { next_of(begun) }
      text = eventually { look(probes, "/livez").last.then { |found| found if found.lines.size == 2 } }
      expect(text).to match(/^calculator: all 1 handlers hang/).and match(%r{^orders/billing: all 1 handlers hang})
    end
  end

  it "fails /readyz, but not /livez, while Redis is away" do
    server = start_server
    build("child", &echo).connect(redis_options: { path: server.path })
    consume_from(stream: "orders", group: "billing", redis_options: { path: server.path }) { nil }
    probes = described_class.new
    expect(look(probes, "/readyz")).to eq([200, "ok\n"])
    server.kill
    text = eventually { look(probes, "/readyz").last.then { |found| found if found.lines.size == 2 } }
    expect(text).to include("house/child: not connected to Redis\n", "orders/billing: not connected to Redis\n")
    expect(look(probes, "/livez")).to eq([200, "ok\n"])
    server.start
    expect(eventually { look(probes, "/readyz").first == 200 }).to be(true)
  end

  it "is not ready while nothing is connected, unless that is intended" do
    expect(look(described_class.new, "/readyz")).to eq([503, "nothing is connected\n"])
    expect(look(described_class.new(lazy: true), "/readyz")).to eq([200, "ok\n"])
  end

  it "is not ready while a consumer is paused, nor once the process takes no more" do
    consumer = consume { nil }
    connect("child", &echo)
    probes = described_class.new
    consumer.pause
    expect(look(probes, "/readyz")).to eq([503, "orders/billing: paused\n"])
    consumer.resume
    expect(look(probes, "/readyz").first).to eq(200)
    RedisIPC.quiet
    text = eventually { look(probes, "/readyz").last.then { |found| found if found.lines.size == 2 } }
    expect(text).to include("house/child: told to take no more\n", "orders/billing: told to take no more\n")
    expect(look(probes, "/livez").first).to eq(200)
  end

  it "answers what else is asked as HTTP wants it" do
    probes = described_class.new
    expect(get(probes, "/metrics")).to match([200, hash_including("content-type" => %r{\Atext/plain; version=0\.0\.4}),
                                              [/^redis_ipc_build_info/]])
    expect(get(probes, "/metrics", "HEAD")).to match([200, hash_including("content-length" => /\A[1-9]\d+\z/), []])
    expect(get(probes, "/other").first).to eq(404)
    expect(get(probes, "/livez", "POST").first).to eq(405)
    [0, -1, nil, "1"].each do |wrong|
      expect { described_class.new(stuck_after: wrong) }.to raise_error(ArgumentError, /stuck_after|timeout/)
    end
  end

  it "is a Rack application", gem: "rails" do
    require "rack/lint"
    require "rack/mock"
    request = Rack::MockRequest.new(Rack::Lint.new(described_class.new(lazy: true)))
    %w[/livez /readyz /metrics /].each { |path| expect(request.get(path).status).to eq(path == "/" ? 404 : 200) }
    expect(request.request("HEAD", "/livez").body).to be_empty
  end

  describe "its own port" do
    it "answers clients side by side, and leaves a broken one alone" do
      port = listen(lazy: true).port
      silent = TCPSocket.new("127.0.0.1", port)
      expect(Net::HTTP.get_response("127.0.0.1", "/readyz?verbose", port).body).to eq("ok\n")
      expect(Net::HTTP.get("127.0.0.1", "/metrics", port)).to include("redis_ipc_build_info")
      ["\r\n\r\n", "x" * 20_000].each do |broken|
        expect(TCPSocket.open("127.0.0.1", port) { |client| client.write(broken) && client.gets })
          .to match(%r{\AHTTP/1\.1 400})
      end
    ensure
      silent&.close
    end

    it "answers no more clients at once than it has places for" do
      port = listen.port
      silent = Array.new(16) { TCPSocket.new("127.0.0.1", port) }
      eventually { TCPSocket.open("127.0.0.1", port) { |client| client.wait_readable(0.2) && client.read == "" } }
      silent.each(&:close)
      eventually { (Net::HTTP.get("127.0.0.1", "/livez", port) == "ok\n" rescue false) } # rubocop:disable Style/RescueModifier
    end

    it "answers again once the system has threads again" do
      stub_const("RedisIPC::Probes::Listener::PAUSE", 0.001)
      port = listen(lazy: true).port
      allow(Thread).to receive(:new).and_raise(ThreadError, "can't create Thread: Resource temporarily unavailable")
      20.times { TCPSocket.open("127.0.0.1", port) { |client| expect(client.read).to eq("") } }
      allow(Thread).to receive(:new).and_call_original
      expect(Net::HTTP.get("127.0.0.1", "/livez", port)).to eq("ok\n")
    end

    it "belongs to its process: a fork neither answers nor keeps it" do
      listener = listen
      reader, writer = IO.pipe
      child = fork { writer.puts("forked") && sleep }
      reader.gets
      listener.close
      expect(TCPServer.new("127.0.0.1", listener.port).close).to be_nil
    ensure
      Process.kill(:KILL, child)
      Process.wait(child)
    end
  end
end

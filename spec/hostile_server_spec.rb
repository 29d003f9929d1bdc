# frozen_string_literal: true

# A server whose replies Redis would never send, at connect and later.
RSpec.describe "a hostile server" do
  let(:server) { LyingServer.new(RedisServer.shared.path) }

  after { server.stop }

  def resident
    File.read("/proc/self/status")[/VmRSS:\s+(\d+)/, 1].to_i
  end

  {
    "a string without end" => ["$99999999999\r\n", /length of 99999999999/],
    "a length past all numbers" => ["$99999999999999999999\r\n", /no number/],
    "a list of a billion" => ["*1000000000\r\n", /length of 1000000000/],
    "a negative length" => ["*-2\r\n", /length of -2/],
    "lists without end" => ["*1\r\n" * 100_000, /lists in lists/],
    "a line without end" => ["+" * 200_000, /line without an end/],
    "a map of RESP3" => ["%1\r\n+a\r\n+b\r\n", /begins with '%'/],
    "a push of RESP3" => [">1\r\n+a\r\n", /begins with '>'/],
    "HTTP" => ["HTTP/1.1 400 Bad Request\r\n\r\n", /begins with 'H'/],
    "a number that is none" => [":1e9\r\n", /no number/],
    "zeros" => ["\0" * 1000, nil]
  }.each do |what, (lie, message)|
    it "is refused by connect: #{what}" do
      server.lie = lie
      stream = build("parent")
      # Without a message there is nothing to refuse, and the client waits for more.
      options = { host: "127.0.0.1", port: server.port, timeout: message ? 5 : 0.5 }
      before = resident
      expect { stream.connect(redis_options: options) }.to raise_error(RedisIPC::ConnectionError, message)
      # The numbers are in KiB.
      expect(resident - before).to be < 100_000
      expect(stream).not_to be_connected
    end
  end

  # Replies that can be parsed, but do not fit the command.
  shapes = ["$-1\r\n", "*-1\r\n", "*0\r\n", ":7\r\n", "+OK\r\n", "-\r\n", "-MOVED 1 1.1.1.1:1\r\n", "$0\r\n\r\n",
            "*2\r\n$1\r\nx\r\n*1\r\n$-1\r\n", "*1\r\n*2\r\n$1\r\nk\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*1\r\n$1\r\na\r\n",
            "*1\r\n*2\r\n$1\r\nk\r\n*1\r\n*2\r\n$41\r\n18446744073709551615-18446744073709551615\r\n*-1\r\n",
            "*2\r\n:-9223372036854775808\r\n:9223372036854775807\r\n", "$3\r\nab", "$3\r\nabcdef\r\n", "*1\r\n%1\r\n",
            "\xFF\xFE\r\n", "*3\r\n$3\r\n0-0\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*-1\r\n*1\r\n:1\r\n"]

  it "neither kills nor hangs a process, whatever shape its replies have; afterwards everything goes on" do
    stream = build("both", &echo)
    # There will be hundreds of errors, which go to on_error.
    stream.connect(redis_options: { host: "127.0.0.1", port: server.port, timeout: 1 }, consumer: { lease: 0.3 })
    expect(stream.send_to_group(content: 1, to: "both").value).to eq(1)
    shapes.each do |lie|
      server.lie = lie
      began = now
      begin
        stream.send_to_group(content: 2, to: "both", timeout: 0.2)
      rescue RedisIPC::Error
        nil
      end
      expect(now - began).to be < 10
    end
    server.lie = nil
    value = eventually(timeout: 30) do
      stream.send_to_group(content: 3, to: "both", timeout: 1).value
    rescue RedisIPC::Error
      nil
    end
    expect(value).to eq(3)
    told = Array.new(errors.size) { errors.pop }
    expect(told).to all(be_a(RedisIPC::Error))
    expect(told.grep(RedisIPC::InternalError)).to eq([])
  end

  describe "that sends a byte now and then" do
    let(:redis_options) { { host: "127.0.0.1", port: server.port, timeout: 0.3, connect_timeout: 3 } }

    let(:late) { have_attributes(message: /no answer in time/) }

    # Sends a line that never ends, whatever the command.
    def drip
      server.lie = proc do
        Enumerator.new { |pieces| ["+", *["x"] * 60_000].each { |it| (pieces << it) && sleep(0.05) } }
      end
    end

    it "has its connections abandoned after read_timeout, and all goes on when it recovers" do
      stream = connect("both", consumer: { lease: 0.5 }, &echo)
      expect(stream.send_to_group(content: 1, to: "both").value).to eq(1)
      drip
      future = stream.async_send_to_group(content: 2, to: "both", timeout: 20)
      expect(next_of(errors, timeout: 5)).to be_a(RedisIPC::ConnectionError).and late
      eventually { !stream.connected? }
      server.lie = nil
      expect(future.value).to eq(2)
      eventually { stream.connected? }
    end

    it "has its connections abandoned, by JSON-RPC" do
      rpc_server { |it| it.on("twice") { |number| number * 2 } }
      client = rpc_client
      expect(client.call("twice", 1)).to eq(2)
      drip
      expect { client.call("twice", 2, timeout: 0.5) }.to raise_error(RedisIPC::CallError)
      expect(next_of(errors, timeout: 3)).to be_a(RedisIPC::ConnectionError).and late
      server.lie = nil
      eventually { client.connected? }
      expect(client.call("twice", 3)).to eq(6)
    end

    it "is not confused with a slow link: a large answer may take many times read_timeout" do
      connect("child") { |entry| fulfill_request(entry, content: "x" * entry.content) }
      asking = connect("parent")
      server.lie = lambda do |bytes|
        next bytes if bytes.size < 10_000

        Enumerator.new { |pieces| bytes.scan(/.{1,4096}/mn) { |it| (pieces << it) && sleep(0.01) } }
      end
      took = seconds { expect(asking.send_to_group(content: 500_000, to: "child").value.size).to eq(500_000) }
      expect(took).to be > 0.9
      expect(errors).to be_empty
    end
  end
end

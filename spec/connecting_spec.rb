# frozen_string_literal: true

require "socket"

# Whatever the server's socket does, connecting ends within `connect_timeout`, and disconnecting within its own time.
RSpec.describe "connecting" do
  let(:folder) { Dir.mktmpdir("redis_ipc_connecting") }
  let(:path) { File.join(folder, "full.sock") }

  after do
    (@threads || []).each { |thread| thread.kill.join }
    (@sockets || []).each(&:close)
    FileUtils.remove_entry(folder)
  end

  def keep_open(socket)
    (@sockets ||= []) << socket
    socket
  end

  # Returns a unix socket whose backlog is full. A blocking connect would wait there for ever.
  def full_socket
    keep_open(UNIXServer.new(path)).listen(0)
    loop { fill_backlog }
  rescue Errno::EAGAIN
    # The backlog is full.
  end

  def fill_backlog
    keep_open(Socket.new(:UNIX, :STREAM)).connect_nonblock(Socket.sockaddr_un(path))
  end

  # Accepts each connection, and sends `bytes` on it, one every 50 ms.
  def dripping_server(bytes)
    server = keep_open(TCPServer.new("127.0.0.1", 0))
    (@threads ||= []) << Thread.new do
      loop { @threads << Thread.new(server.accept) { |client| drip(client, bytes) } }
    rescue IOError
      # The example is over.
    end
    server.addr[1]
  end

  def drip(client, bytes)
    bytes.each_char do |byte|
      client.write(byte)
      sleep 0.05
    end
  rescue SystemCallError
    client.close
  end

  def refused(**options)
    took = seconds do
      Timeout.timeout(20) do
        expect { build("both", &echo).connect(redis_options: options) }.to raise_error(RedisIPC::ConnectionError)
      end
    end
    expect(took).to be_between(0.2, 3)
  end

  it "by a unix socket whose backlog is full ends in time" do
    full_socket
    refused(path: path, connect_timeout: 0.3)
  end

  it "by a unix socket whose backlog has room again succeeds" do
    full_socket
    stream = build("both", &echo)
    connecting = Thread.new { stream.connect(redis_options: { path: path, timeout: 10 }) }
    expect(connecting.join(0.1)).to be_nil
    File.rename(start_server.path, path)
    connecting.value
    expect(stream.send_to_group(content: 1, to: "both").value).to eq(1)
    stream.disconnect
  end

  it "to a frozen server ends in time, by TCP and by a unix socket" do
    server = start_server
    Process.kill(:STOP, server.pid)
    refused(path: server.path, connect_timeout: 0.3)
    refused(port: server.port, connect_timeout: 0.3)
  end

  it "to a server that drips bytes ends in time, in the login and in the TLS handshake" do
    refused(port: dripping_server("+#{"x" * 200}"), connect_timeout: 0.4)
    # The beginning of a TLS record of 16 KiB.
    refused(port: dripping_server("\x16\x03\x03\x40\x00#{"\0" * 200}"), connect_timeout: 0.4, ssl: true)
  end

  describe "again, when it hangs," do
    # Connects, kills the server, and fills the backlog of its socket, so that each thread hangs when it reconnects.
    def hang(server)
      server.kill
      FileUtils.rm_f(server.path)
      File.symlink(path, server.path)
      full_socket
    end

    it "does not hold up a disconnect" do
      server = start_server
      options = { redis_options: { path: server.path, connect_timeout: 30 } }
      stream = build("both", &echo).connect(**options)
      serving = RedisIPC::JSONRPC::Server.new("q", **options).on_error { |error| errors << error }.connect
      calling = RedisIPC::JSONRPC::Client.new("q", **options).on_error { |error| errors << error }.connect
      hang(server)
      eventually { [stream, serving, calling].none?(&:connected?) }
      [stream, serving, calling].each { |end_| expect(seconds { end_.disconnect(timeout: 1) }).to be < 4 }
    end

    it "does not hold up the end of the process" do
      server = start_server
      process = ruby(<<~RUBY, redis_url: "unix://#{server.path}")
        stream = RedisIPC::Stream.new("house", "both").on_error { |error| puts error.class }
        stream.on_request { |entry| fulfill_request(entry, content: 1) }
        stream.connect(redis_options: { connect_timeout: 30 })
        puts "ready"
        sleep
      RUBY
      expect(process.line).to eq("ready")
      hang(server)
      expect(process.line).to eq("RedisIPC::ConnectionError")
      expect(seconds { process.kill(:TERM) && process.wait }).to be < 6
    end
  end

  describe "by a name" do
    # Runs a script in a process whose name server does not answer.
    def with_silent_name_server(script)
      skip "needs root and a mount namespace of its own" unless system("unshare", "--mount", "true", err: File::NULL)

      server = keep_open(UDPSocket.new)
      address = "127.#{rand(1..254)}.#{rand(1..254)}.#{rand(1..254)}"
      server.bind(address, 53)
      file = File.join(folder, "resolv.conf")
      File.write(file, "nameserver #{address}\noptions timeout:5 attempts:2\n")
      command = "mount --bind #{file} /etc/resolv.conf && exec \"$0\" \"$@\""
      run_process("unshare", "--mount", "sh", "-c", command, RbConfig.ruby, "-I#{Processes::LIBRARY}", "-e",
                  Processes::PRELUDE + script)
    rescue Errno::EACCES
      skip "may not listen on port 53"
    end

    it "that is not resolved ends in time, and so does the process" do
      process = with_silent_name_server(<<~RUBY)
        started = Process.clock_gettime(Process::CLOCK_MONOTONIC)
        begin
          RedisIPC::Stream.new("house", "both").connect(redis_options: { host: "redis.example.org", connect_timeout: 0.5 })
        rescue RedisIPC::ConnectionError => e
          puts e.message
        end
        puts Process.clock_gettime(Process::CLOCK_MONOTONIC) - started
      RUBY
      expect(process.line).to include("redis.example.org", "connect_timeout")
      expect(process.line.to_f).to be < 3
      expect(seconds { process.wait }).to be < 3
    end

    it "that is not resolved any more holds up no disconnect" do
      server = start_server(bind: "127.0.0.1")
      hosts = File.join(folder, "hosts")
      File.write(hosts, "127.0.0.1 redis.example.org\n")
      process = with_silent_name_server(<<~RUBY)
        system("mount", "--bind", #{hosts.inspect}, "/etc/hosts", exception: true)
        stream = RedisIPC::Stream.new("house", "both").on_error { |error| puts error.class }
        stream.on_request { |entry| fulfill_request(entry, content: 1) }
        stream.connect(redis_options: { host: "redis.example.org", port: #{server.port}, connect_timeout: 20 })
        puts stream.send_to_group(content: 1, to: "both").value
        File.write(#{hosts.inspect}, "")
        puts "unknown"
        $stdin.gets
        started = Process.clock_gettime(Process::CLOCK_MONOTONIC)
        stream.disconnect(timeout: 1)
        puts Process.clock_gettime(Process::CLOCK_MONOTONIC) - started
      RUBY
      expect(process.line).to eq("1")
      expect(process.line).to eq("unknown")
      server.kill
      expect(process.line).to eq("RedisIPC::ConnectionError")
      process.puts("go on")
      expect(eventually { process.line[/\A[\d.]+\z/] }.to_f).to be < 4
    end
  end
end

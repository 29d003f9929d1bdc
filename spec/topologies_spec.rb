# frozen_string_literal: true

RSpec.describe "reaching Redis" do
  def answer(**options)
    stream = build("both", &echo).connect(redis_options: options)
    stream.send_to_group(content: 1, to: "both").value
  end

  it "by TCP, with host, port and database number" do
    server = start_server
    expect(answer(host: "127.0.0.1", port: server.port, db: 5)).to eq(1)
    server.client.select(5)
    expect(server.client.keys).to include("house:inbox:both")
  end

  it "by a unix socket, as an option and as a URL" do
    server = start_server(port: 0)
    expect(answer(path: server.path)).to eq(1)
    expect(answer(url: "unix://#{server.path}?db=3")).to eq(1)
    expect(server.client.tap { |client| client.select(3) }.keys).to include("house:inbox:both")
  end

  it "with a password, and not with a wrong one or none" do
    server = start_server(requirepass: "s3cret")
    expect(answer(url: "redis://:s3cret@127.0.0.1:#{server.port}")).to eq(1)
    expect(answer(port: server.port, password: "s3cret")).to eq(1)
    [{ password: "wr0ng" }, {}].each do |options|
      expect { answer(port: server.port, **options) }.to raise_error(RedisIPC::CommandError) { |error|
        expect(error.message).to match(/WRONGPASS|NOAUTH/)
        expect(error.message).not_to include("wr0ng")
      }
    end
  end

  it "as an ACL user" do
    server = start_server
    server.client.call("ACL", "SETUSER", "ann", "on", ">p@ss:word", "~house:*", "+@all")
    expect(answer(url: "redis://ann:p%40ss%3Aword@127.0.0.1:#{server.port}")).to eq(1)
    expect { answer(path: server.path, username: "ann", password: "wrong") }.to raise_error(RedisIPC::CommandError)
  end

  describe "by TLS" do
    let(:certificates) { Certificates.new }

    after { certificates.remove }

    def tls_server(certificate, key, **more)
      @tls_port = RedisServer.free_port
      start_server(tls_port: @tls_port, tls_cert_file: certificate, tls_key_file: key,
                   tls_ca_cert_file: certificates.authority_file, **more)
    end

    def answer_by_tls(host: "localhost", **ssl_params)
      answer(url: "rediss://#{host}:#{@tls_port}", ssl_params: { ca_file: certificates.authority_file, **ssl_params })
    end

    it "with a CA file, and a client certificate where the server wants one" do
      tls_server(*certificates.for("server"), tls_auth_clients: "yes")
      cert, key = certificates.for("client")
      expect(answer_by_tls(cert: cert, key: key)).to eq(1)
      expect(answer_by_tls(cert: OpenSSL::X509::Certificate.new(File.read(cert)), key: File.read(key))).to eq(1)
      expect { answer_by_tls }.to raise_error(RedisIPC::ConnectionError)
    end

    it "refuses a certificate for another host, unless told not to look" do
      tls_server(*certificates.for("server", host: "elsewhere"), tls_auth_clients: "no")
      expect { answer_by_tls }.to raise_error(RedisIPC::ConnectionError, /certificate/i)
      expect(answer_by_tls(verify_hostname: false)).to eq(1)
      expect(answer_by_tls(verify_mode: OpenSSL::SSL::VERIFY_NONE)).to eq(1)
    end

    it "refuses an expired certificate, and one of an authority it does not know" do
      tls_server(*certificates.for("server", valid: -60), tls_auth_clients: "no")
      expect { answer_by_tls }.to raise_error(RedisIPC::ConnectionError, /expired/i)
      stranger = Certificates.new
      expect { answer_by_tls(ca_file: stranger.authority_file) }.to raise_error(RedisIPC::ConnectionError)
      expect { answer(url: "rediss://localhost:#{@tls_port}") }.to raise_error(RedisIPC::ConnectionError)
    ensure
      stranger&.remove
    end

    it "accepts a self-signed certificate, also an authority's, that ca_file pins, if its name and dates are right" do
      [{ authority: true }, {}].each_with_index do |options, index|
        certificate, key = certificates.self_signed("pinned#{index}", **options)
        tls_server(certificate, key, tls_auth_clients: "no")
        expect(answer_by_tls(ca_file: certificate)).to eq(1)
        expect { answer_by_tls(host: "127.0.0.1", ca_file: certificate) }
          .to raise_error(RedisIPC::ConnectionError, /certificate/i)
        expect(answer_by_tls(host: "127.0.0.1", ca_file: certificate, verify_hostname: false)).to eq(1)
        other, = certificates.self_signed("other#{index}", **options)
        expect { answer_by_tls(ca_file: other) }.to raise_error(RedisIPC::ConnectionError, /certificate/i)
      end
      certificate, key = certificates.self_signed("expired", authority: true, valid: -60)
      tls_server(certificate, key, tls_auth_clients: "no")
      expect { answer_by_tls(ca_file: certificate) }.to raise_error(RedisIPC::ConnectionError, /expired/i)
    end

    it "accepts any certificate without verification, also X.509 version 1 and P-521, by every TLS version" do
      tls_server(*certificates.version_one("first"), tls_auth_clients: "no")
      expect { answer_by_tls }.to raise_error(RedisIPC::ConnectionError, /certificate/i)
      expect(answer_by_tls(verify_mode: OpenSSL::SSL::VERIFY_NONE)).to eq(1)
      tls_server(*certificates.version_one("second"), tls_auth_clients: "no", tls_protocols: "TLSv1.2")
      expect(answer_by_tls(verify_mode: OpenSSL::SSL::VERIFY_NONE)).to eq(1)
      tls_server(*certificates.for("large", curve: "secp521r1"), tls_auth_clients: "no")
      expect { answer_by_tls }.to raise_error(RedisIPC::ConnectionError)
      expect(answer_by_tls(verify_mode: OpenSSL::SSL::VERIFY_NONE)).to eq(1)
    end

    it "refuses a host name in the CN alone, and P-521 below TLS 1.3 even without verification" do
      tls_server(*certificates.for("localhost", host: nil), tls_auth_clients: "no")
      expect { answer_by_tls }.to raise_error(RedisIPC::ConnectionError, /certificate/i)
      expect(answer_by_tls(verify_mode: OpenSSL::SSL::VERIFY_NONE)).to eq(1)
      tls_server(*certificates.for("large", curve: "secp521r1"), tls_auth_clients: "no", tls_protocols: "TLSv1.2")
      expect { answer_by_tls(verify_mode: OpenSSL::SSL::VERIFY_NONE) }.to raise_error(RedisIPC::ConnectionError)
    end

    # OpenSSL itself supports both.
    it "makes no connection by TLS 1.1, nor by RSA key exchange alone" do
      { certificates.for("old") => { tls_protocols: "TLSv1.1", tls_ciphers: "ALL:@SECLEVEL=0" },
        certificates.for("rsa", rsa: true) => { tls_protocols: "TLSv1.2", tls_ciphers: "AES128-GCM-SHA256" } }
        .each do |files, settings|
          tls_server(*files, tls_auth_clients: "no", **settings)
          expect(negotiated).to eq(settings[:tls_protocols])
          expect { answer_by_tls }.to raise_error(RedisIPC::ConnectionError, /HandshakeFailure|ProtocolVersion/)
        end
      tls_server(*certificates.for("rsa2", rsa: true), tls_auth_clients: "no")
      expect(answer_by_tls).to eq(1)
    end

    # Returns the protocol version and the cipher that OpenSSL and the server agreed on.
    def negotiated
      context = OpenSSL::SSL::SSLContext.new
      context.security_level = 0
      context.ciphers = "ALL:@SECLEVEL=0"
      context.min_version = OpenSSL::SSL::TLS1_VERSION
      socket = OpenSSL::SSL::SSLSocket.new(TCPSocket.new("127.0.0.1", @tls_port), context)
      socket.connect.ssl_version
    ensure
      socket&.close
    end

    it "refuses a self-signed certificate" do
      tls_server(*certificates.self_signed("server"), tls_auth_clients: "no")
      expect { answer_by_tls }.to raise_error(RedisIPC::ConnectionError, /certificate/i)
    end
  end

  describe "by Sentinel" do
    it "finds the master, and the new one after a failover", timeout: 120 do
      master = start_server(requirepass: "secret", masterauth: "secret")
      replica = start_server(replicaof: ["127.0.0.1", master.port], requirepass: "secret", masterauth: "secret")
      sentinel = start_sentinel(master)
      options = { name: "mymaster", sentinels: [{ host: "127.0.0.1", port: RedisServer.free_port }, sentinel],
                  sentinel_password: "watch", password: "secret", role: :master }
      expect { answer(**options, sentinel_password: "wrong") }.to raise_error(RedisIPC::CommandError, /WRONGPASS/)
      stream = build("both", &echo).connect(redis_options: options)
      expect(stream.send_to_group(content: 1, to: "both").value).to eq(1)

      eventually { replica.client.info("replication")["master_link_status"] == "up" }
      eventually { begins_failover?(sentinel) }
      eventually(timeout: 60) { replica.client.info("replication")["role"] == "master" }
      # The old master still answers for about 10 s.
      eventually(timeout: 6) { stream.stats[:reconnections].positive? }
      value = eventually(timeout: 30) do
        stream.send_to_group(content: 2, to: "both", timeout: 2).value
      rescue RedisIPC::CallError
        nil
      end
      expect(value).to eq(2)
      expect(replica.client.keys).to include("house:inbox:both")
    end

    def start_sentinel(master)
      port = RedisServer.free_port
      folder = Dir.mktmpdir("redis_ipc_sentinel")
      file = File.join(folder, "sentinel.conf")
      File.write(file, <<~CONF)
        port #{port}
        dir #{folder}
        requirepass watch
        sentinel monitor mymaster 127.0.0.1 #{master.port} 1
        sentinel auth-pass mymaster secret
        sentinel down-after-milliseconds mymaster 1000
      CONF
      @sentinel = Process.spawn("redis-server", file, "--sentinel", out: File::NULL, err: File::NULL)
      @sentinel_folder = folder
      address = { host: "127.0.0.1", port: port }
      eventually { sentinel_knows_replica?(address) }
      address
    end

    # The sentinel refuses before it is connected to the replica.
    def begins_failover?(address)
      sentinel_client(address).call("SENTINEL", "FAILOVER", "mymaster") == "OK"
    rescue Redis::CommandError => e
      raise unless e.message.start_with?("NOGOODSLAVE")
    end

    def sentinel_knows_replica?(address)
      sentinel_client(address).call("SENTINEL", "REPLICAS", "mymaster").any?
    rescue Redis::BaseError
      false
    end

    def sentinel_client(address)
      RedisServer.client(**address, password: "watch")
    end

    after do
      Process.kill(:KILL, @sentinel)
      Process.wait(@sentinel)
      FileUtils.remove_entry(@sentinel_folder)
    end
  end
end

# frozen_string_literal: true

# The programs in examples/ over TLS, as users with the ACL rules of docs/security.md and docs/json_rpc.md.
RSpec.describe "peers in other languages, over TLS and with few rights", timeout: 120 do
  include PeerProcesses

  rules = %w[security json_rpc].flat_map do |page|
    File.read(File.expand_path("../docs/#{page}.md", __dir__)).scan(/^```acl\nuser (\w+) (.*?)^```/m)
  end.to_h.slice("asker", "answerer", "client", "server")
  # This is what docs/json_rpc.md says about the clients in examples/.
  rules["client"] = rules["client"].sub("+blmove +lrange +ltrim", "+brpop")

  let(:certificates) { Certificates.new }
  let(:port) { RedisServer.free_port }
  let(:server) do
    certificate, key = certificates.for("server")
    # For Node 18 "localhost" is a single address, which may be ::1.
    start_server(bind: "127.0.0.1 -::1", tls_port: port, tls_cert_file: certificate, tls_key_file: key,
                 tls_ca_cert_file: certificates.authority_file, tls_auth_clients: "no")
  end

  # The packages are installed once, before the time limit of an example begins.
  before(:all) do
    PeerPackages.python
    PeerPackages.node
  end

  before do
    rules.each { |name, rule| server.client.call("ACL", "SETUSER", name, *rule.split.join(" ").scan(/\([^)]*\)|\S+/)) }
  end

  after { certificates.remove }

  def secured(language, user, demo, *arguments)
    authority = certificates.authority_file
    peer(language, demo, *arguments, REDIS_URL: "rediss://#{user}:#{user}-secret@localhost:#{port}",
                                     SSL_CERT_FILE: authority, NODE_EXTRA_CA_CERTS: authority)
  end

  # Returns what Redis refused, except for what the clients can do without: setting the name of their library, and
  # (ioredis) asking whether Redis is loading.
  def refused
    server.client.call("ACL", "LOG").map { |row| row.each_slice(2).to_h["object"] } - %w[client|setinfo info]
  end

  %w[python node].each do |language|
    it "#{language} asks and answers on a stream" do
      answering = secured(language, "answerer", "stream_demo", "house", "child", "serve")
      asking = secured(language, "asker", "stream_demo", "house", "parent")
      expect(ask(asking, to: "child", content: { do: "echo", value: 1 }, timeout: 10))
        .to eq("value" => { "by" => "#{language} #{answering.pid}", "value" => 1 })
      expect(ask(asking, to: "child", content: { do: "reject", reason: "no" }, timeout: 10)).to eq("rejected" => "no")
      answering.kill
      expect(ask(asking, to: "child", content: { do: "echo" }, timeout: 0.3)).to include("timeout")
      expect(refused).to be_empty
    end

    it "#{language} calls and serves by JSON-RPC" do
      serving = secured(language, "server", "json_rpc_demo", "calculator", "serve")
      client = secured(language, "client", "json_rpc_demo", "calculator")
      expect(ask(client, method: "subtract", params: [42, 23], timeout: 10)).to eq("value" => 19)
      serving.kill
      expect(ask(client, method: "subtract", params: [1, 1], timeout: 0.3)).to include("timeout")
      expect(refused).to be_empty
    end
  end
end

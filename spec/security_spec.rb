# frozen_string_literal: true

# What each user may do according to docs/security.md, with the rules of that page.
RSpec.describe "the ACL rules of docs/security.md" do
  rules = File.read(File.expand_path("../docs/security.md", __dir__)).scan(/^```acl\nuser (\w+) (.*?)^```/m).to_h

  # The first is Redis's reply to a command; the others are its replies in a script: of Redis 7.0, and of newer ones and
  # Valkey.
  refusals = /NOPERM|user executing the script can't run this command|ACL failure in script/

  let(:server) { start_server }

  members = rules.except("lookout")

  before { members.each_key { |name| grant(server.client, name, rules[name]) } }

  # Gives a user the rules, as an ACL file does.
  def grant(client, user, rule)
    client.call("ACL", "SETUSER", user, *rule.split.join(" ").scan(/\([^)]*\)|\S+/))
  end

  def login(user)
    { path: server.path, username: user, password: "#{user}-secret" }
  end

  def member(user, group, &handler)
    build(group, &handler).connect(redis_options: login(user), consumer: { lease: 0.3 })
  end

  # Returns what Redis has refused so far. Whether it evicts keys is asked in vain.
  def refused(client = server.client)
    rows = client.call("ACL", "LOG").map { |row| row.each_slice(2).to_h.slice("username", "object", "context") }
    rows.reject { |row| row["object"] == "info" }
  end

  define_method(:forbidden) do |user, *command|
    client = RedisServer.client(**login(user))
    expect { client.call(*command) }.to raise_error(Redis::CommandError, refusals), "#{user} may #{command.join(" ")}"
  ensure
    client&.close
  end

  it "are those of two members, of who asks sentinels, looks on and acts, and of six for events" do
    expect(rules.keys).to eq(%w[lookout asker answerer observer operator publisher consumer forwarder subscriber
                                watcher tracker])
  end

  it "let publishers and consumers of events do no more than that" do
    forbidden("publisher", "XREAD", "STREAMS", "orders", "0")
    forbidden("publisher", "XADD", "orders:dead:billing", "*", "a", "b")
    forbidden("publisher", "HSET", "orders:events:billing", "o:0", "me 1 1")
    forbidden("publisher", "SET", "orders", "no stream")
    forbidden("forwarder", "HSET", "orders:events:billing", "o:0", "me 1 1")
    forbidden("forwarder", "XREADGROUP", "GROUP", "a", "b", "STREAMS", "orders", ">")
    forbidden("consumer", "DEL", "orders")
    forbidden("consumer", "XREADGROUP", "GROUP", "billing", "me", "STREAMS", "others", ">")
    forbidden("consumer", "XRANGE", "orders:dead:search", "-", "+")
    forbidden("consumer", "HGETALL", "orders:events:search")
  end

  it "let an asker ask, time out and leave, and an answerer answer, write dead letters and leave" do
    child = member("answerer", "child") do |entry|
      fulfill_request(entry, content: entry.content) unless entry.content == 0
    end
    parent = member("asker", "parent")
    expect(parent.send_to_group(content: 1, to: "child").value).to eq(1)
    expect { parent.send_to_group(content: 0, to: "child", timeout: 1) }.to raise_error(RedisIPC::TimeoutError)
    server.client.xadd("house:inbox:child", { "hello" => "world" })
    told = Array.new(2) { next_of(errors).class }
    expect(told).to contain_exactly(RedisIPC::MalformedEntryError, RedisIPC::UnansweredError)
    expect(child.dead_letters.first.discard).to be(true)
    expect(parent.instances.map { |row| row[:group] }).to contain_exactly("child", "parent")
    # These are leases, heartbeats and the check for requests to take over.
    beats = -> { server.client.info("commandstats").dig("xpending", "calls").to_i }
    eventually { beats.call > 4 }
    child.disconnect
    expect(refused).to eq([])
    error = unclaimed { parent.send_to_group(content: 2, to: "child", timeout: 0.1) }
    expect(error.outcome).to eq(:unclaimed)
    parent.disconnect
    expect(refused).to eq([])
    expect(errors).to be_empty
  end

  it "let an answerer hand on what it has not started" do
    started = Queue.new
    gate = Queue.new
    child = build("child") do |entry|
      started << entry
      gate.pop
      fulfill_request(entry, content: 1)
    end
    child.connect(redis_options: login("answerer"), consumer: { pool_size: 1 })
    parent = member("asker", "parent")
    first = parent.async_send_to_group(content: 1, to: "child", timeout: 20)
    next_of(started)
    redis_id = server.client.xinfo(:stream, "house:inbox:child")["last-generated-id"]
    second = parent.async_send_to_group(content: 2, to: "child", timeout: 20)
    eventually { server.client.xinfo(:stream, "house:inbox:child")["last-generated-id"] != redis_id }
    # Delivers the request as if the instance had read it ahead.
    server.client.xreadgroup("child", child.instance_id, "house:inbox:child", ">")
    leaving = Thread.new { child.disconnect }
    eventually { child.stats[:released] == 1 }
    expect(server.client.xpending("house:inbox:child", "child")["size"]).to eq(1)
    member("answerer", "child", &echo)
    expect(second.value).to eq(2)
    gate << true
    leaving.join
    expect(first.value).to eq(1)
    expect(refused).to eq([])
  end

  describe "with Sentinel" do
    let(:port) { RedisServer.free_port }
    let(:folder) { Dir.mktmpdir("redis_ipc_sentinel") }
    let(:sentinel) { Redis.new(host: "127.0.0.1", port: port) }

    before do
      file = File.join(folder, "sentinel.conf")
      # With a quorum of 9 the sentinel never starts a failover itself.
      File.write(file, "port #{port}\ndir #{folder}\nsentinel monitor mymaster 127.0.0.1 #{server.port} 9\n")
      @sentinel_pid = Process.spawn("redis-server", file, "--sentinel", out: File::NULL, err: File::NULL)
      eventually { answers? }
    end

    after do
      Process.kill(:KILL, @sentinel_pid)
      Process.wait(@sentinel_pid)
      FileUtils.remove_entry(folder)
    end

    def answers?
      sentinel.ping == "PONG"
    rescue Redis::BaseConnectionError
      false
    end

    def watched(user, group, &handler)
      options = { name: "mymaster", sentinels: [{ host: "127.0.0.1", port: port }], username: user,
                  password: "#{user}-secret", sentinel_username: "lookout", sentinel_password: "lookout-secret" }
      build(group, &handler).connect(redis_options: options)
    end

    # The sentinel still takes the server for the master.
    def demote
      server.client.call("REPLICAOF", "127.0.0.1", start_server.port)
      server.client.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    end

    define_method(:connect_all) do |lookout: rules["lookout"], more: "+role"|
      grant(sentinel, "lookout", lookout)
      %w[asker answerer].each { |user| grant(server.client, user, more) }
      watched("answerer", "child", &echo)
      watched("asker", "parent")
    end

    it "are enough to ask, to answer and to recognize a demoted master and a sentinel that missed it" do
      parent = connect_all
      expect(parent.send_to_group(content: 1, to: "child").value).to eq(1)
      demote
      told = next_of(errors)
      expect(told).to be_a(RedisIPC::ConnectionError)
      expect([refused, refused(sentinel)]).to eq([[], []])
      server.client.call("REPLICAOF", "NO", "ONE")
      eventually { parent.connected? }
      expect(parent.send_to_group(content: 2, to: "child").value).to eq(2)
    end
  end

  it "let a group create its inbox again when its ids are used up" do
    last = "18446744073709551615-18446744073709551615"
    member("answerer", "child", &echo)
    server.client.xadd("house:inbox:child", { "waits" => "here" })
    server.client.xadd("house:inbox:child", { "a" => "b" }, id: last)
    eventually { server.client.xinfo(:stream, "house:inbox:child")["last-generated-id"] != last }
    expect(refused).to eq([])
  end

  it "keep an asker from everything else" do
    server.client.xadd("house:inbox:child", { "a" => "b" })
    server.client.xgroup(:create, "house:inbox:child", "child", "0")
    [
      %w[XREADGROUP GROUP child x STREAMS house:inbox:child >], %w[XRANGE house:inbox:child - +],
      %w[XREAD STREAMS house:inbox:child 0], %w[XCLAIM house:inbox:child child x 0 1-1],
      %w[XAUTOCLAIM house:inbox:child child x 0 0], %w[DEL house:inbox:child], %w[XACK house:inbox:child child 1-1],
      %w[XREADGROUP GROUP parent x STREAMS house:inbox:parent >], %w[XRANGE house:inbox:parent - +],
      %w[XADD house:inbox:parent * a b], %w[DEL house:inbox:parent],
      %w[XADD house:inbox:other * a b], %w[XADD house:replies:other:x * a b], %w[XREAD STREAMS house:replies:other:x 0],
      %w[XRANGE house:dead:child - +], %w[XADD elsewhere * a b], %w[XADD home:inbox:child * a b],
      ["EVAL", "return redis.call('GET', 'elsewhere')", "0"], ["EVAL", "return 1", "1", "house:inbox:child"],
      %w[KEYS *], %w[SCAN 0], %w[FLUSHALL], %w[CONFIG GET *], %w[ACL LIST], %w[MONITOR], %w[CLIENT LIST], %w[GET x]
    ].each { |command| forbidden("asker", *command) }
  end

  it "keep an answerer from everything else" do
    [
      %w[XADD house:inbox:parent * a b], %w[XREADGROUP GROUP parent x STREAMS house:inbox:parent >],
      %w[XRANGE house:inbox:parent - +], %w[XREAD STREAMS house:replies:parent:x 0], %w[DEL house:replies:parent:x],
      %w[XTRIM house:replies:parent:x MAXLEN 0], %w[XRANGE house:dead:parent - +], %w[XADD house:dead:parent * a b],
      %w[XADD elsewhere * a b], %w[SET house:inbox:child x], %w[KEYS *], %w[FLUSHALL], %w[CONFIG GET *], %w[MONITOR]
    ].each { |command| forbidden("answerer", *command) }
    child = member("answerer", "child", &echo)
    expect { child.send_to_group(content: 1, to: "parent") }.to raise_error(RedisIPC::CommandError, /NOPERM/i) { |error|
      expect(error.outcome).to eq(:not_sent)
    }
  end

  it "let an observer see and change nothing, and an operator act on the stream and on nothing else" do
    member("answerer", "child", &echo)
    server.client.xadd("house:inbox:child", { "hello" => "world" })
    next_of(errors)
    observer = RedisServer.client(**login("observer"))
    expect(observer.zrange("house:instances", 0, -1)).to match([/\Achild:\h{32}:/] * 2)
    expect(observer.xrange("house:dead:child").first.last).to include("hello" => "world")
    expect(observer.xlen("house:dead:child")).to eq(1)
    observer.close
    [
      %w[XADD house:inbox:child * a b], %w[XREADGROUP GROUP child x STREAMS house:inbox:child >],
      %w[XREAD STREAMS house:replies:child:x 0], %w[XADD house:replies:child:x * a b], %w[DEL house:dead:child],
      %w[XDEL house:dead:child 1-1], %w[XADD house:dead:child * a b], %w[ZADD house:instances 1 x],
      %w[ZREM house:instances x], %w[SET house:control:child x], %w[SET house:stats:child:i x], %w[KEYS *], %w[MONITOR],
      ["EVAL", "return 1", 1, "house:inbox:child"], %w[CLIENT KILL ID 1], %w[CONFIG GET *], %w[ACL LIST],
      ["EVAL_RO", "return redis.call('XREAD', 'STREAMS', KEYS[1], 0)", 1, "house:replies:child:x"]
    ].each { |command| forbidden("observer", *command) }
    [
      %w[XREADGROUP GROUP child x STREAMS house:inbox:child >], %w[XREAD STREAMS house:replies:child:x 0],
      %w[XADD house:replies:child:x * a b], %w[XADD house:dead:child * a b], %w[SET house:stats:child:i x],
      %w[UNLINK elsewhere], %w[SET elsewhere:control:child x], %w[CONFIG GET *], %w[FLUSHALL]
    ].each { |command| forbidden("operator", *command) }
    expect { member("observer", "observer") }.to raise_error(RedisIPC::CommandError, /NOPERM/i)
  end
end

# frozen_string_literal: true

RSpec.describe "in a Redis Cluster" do
  attr_reader :cluster

  before(:context) { @cluster = RedisCluster.new }

  after(:context) { @cluster.stop }

  before { cluster.flush }

  def build_in(group, **options, &handler)
    build(group, &handler).connect(redis_options: { **cluster.options, connect_timeout: 2 }, **options)
  end

  # Returns the name of a group whose inbox is on `node`.
  def group_on(node, prefix = "group")
    cluster.name_on(node, prefix) { |name| "house:inbox:#{name}" }
  end

  # Calls from several threads until the block has returned. Then no answers may be mixed up, and the counters must
  # match.
  def under_load(asker, to:, threads: 4, timeout: 5)
    stop = false
    wrong = Queue.new
    answered = Queue.new
    workers = Array.new(threads) do |thread|
      Thread.new do
        (0..).each do |index|
          break if stop

          question = "#{thread}/#{index}"
          answer = asker.send_to_group(content: question, to: to, timeout: timeout).value
          (answer == question ? answered : wrong) << [question, answer]
        rescue RedisIPC::CallError
          nil
        end
      end
    end
    more_answers(answered)
    result = yield answered
    more_answers(answered)
    stop = true
    workers.each(&:join)
    expect(wrong).to be_empty
    stats = asker.stats
    expect(stats.values_at(:fulfilled, :rejected, :timed_out, :failed).sum).to eq(stats[:requests])
    expect(stats).to include(fulfilled: answered.size, rejected: 0, open_calls: 0)
    result
  ensure
    stop = true
    workers&.each(&:join)
  end

  def more_answers(answered, count = 50, **timing)
    before = answered.size
    eventually(**timing) { answered.size >= before + count }
  end

  it "groups on all nodes ask each other, in all directions" do
    groups = cluster.masters.map { |node| group_on(node) }
    streams = groups.map { |group| build_in(group, &echo) }
    streams.product(groups) do |stream, to|
      expect(stream.send_to_group(content: to, to: to).value).to eq(to)
    end
    expect(streams.first.instances.map { |row| row[:group] }).to match_array(groups)
    expect(streams).to all(be_connected)
    expect(errors).to be_empty
  end

  it "many groups are asked at once" do
    groups = Array.new(12) { |index| "many#{index}" }
    groups.each { |group| build_in(group, consumer: { pool_size: 1 }, &echo) }
    asker = build_in("asker")
    futures = Array.new(600) { |index| asker.async_send_to_group(content: index, to: groups[index % 12]) }
    expect(futures.map(&:value)).to eq((0...600).to_a)
    inboxes = groups.map { |group| "house:inbox:#{group}" }
    eventually { inboxes.all? { |inbox| cluster.master_of(inbox).client.xlen(inbox).zero? } }
    expect(asker.stats).to include(fulfilled: 600, answers_unmatched: 0, reconnections: 0)
  end

  it "requests nobody takes are withdrawn, malformed ones become dead letters" do
    group = group_on(cluster.masters.first)
    stream = build_in(group, &echo)
    error = unclaimed { stream.send_to_group(content: 1, to: "nobody", timeout: 0.2) }
    expect(error.outcome).to eq(:unclaimed)
    cluster.master_of("house:inbox:#{group}").client.xadd("house:inbox:#{group}", { "what" => "ever" })
    dead = "house:dead:#{group}"
    eventually { cluster.master_of(dead).client.xlen(dead) == 1 }
  end

  it "at-most-once delivery acknowledges before it runs" do
    group = group_on(cluster.masters.last)
    stream = build_in(group, consumer: { delivery: :at_most_once }, &echo)
    expect(Array.new(20) { |index| stream.send_to_group(content: index, to: group).value }).to eq((0...20).to_a)
  end

  it "is reached by any of its nodes: redis-rb 5's name, a Hash, a plain URL, and past nodes that are down" do
    node = cluster.nodes.last
    down = { host: "127.0.0.1", port: RedisServer.free_port }
    [{ nodes: ["redis://127.0.0.1:#{node.port}"] }, { cluster: [down, { host: "127.0.0.1", port: node.port }] },
     { url: node.url }, { path: node.path }].each do |options|
      stream = build("both", &echo).connect(redis_options: options)
      group = group_on(cluster.masters.sample, "other")
      build_in(group, &echo)
      expect(stream.send_to_group(content: 1, to: group).value).to eq(1)
    end
  end

  it "is reached by TLS, with a password, and as a user who may only see the slots" do
    certificates = Certificates.new
    cert, key = certificates.for("server")
    lone = RedisCluster.new(masters: 1, replicas: 0, tls_port: RedisServer.free_port, tls_cluster: "yes",
                            tls_cert_file: cert, tls_key_file: key, tls_ca_cert_file: certificates.authority_file,
                            tls_auth_clients: "no", requirepass: "s3cret")
    port = lone.nodes.first.client.call("CONFIG", "GET", "tls-port").last
    options = { cluster: ["rediss://:s3cret@localhost:#{port}"], fixed_hostname: "localhost",
                ssl_params: { ca_file: certificates.authority_file } }
    stream = build("both", &echo).connect(redis_options: options)
    expect(stream.send_to_group(content: 1, to: "both").value).to eq(1)
    expect { build("both").connect(redis_options: { **options, fixed_hostname: "127.0.0.1" }) }
      .to raise_error(RedisIPC::ConnectionError, /certificate/)
    lone.nodes.first.client.call("ACL", "SETUSER", "ann", "on", ">hers", "~house:*", "+@all", "-cluster",
                                 "+cluster|slots")
    stream = build("other", &echo).connect(redis_options: { **options, username: "ann", password: "hers" })
    expect(stream.send_to_group(content: 2, to: "both").value).to eq(2)
  ensure
    disconnect_streams
    lone&.stop
    certificates&.remove
  end

  it "that cannot be reached is named by its nodes, without secrets" do
    ports = Array.new(2) { RedisServer.free_port }
    nodes = ports.map { |port| "redis://ann:hunter2@127.0.0.1:#{port}" }
    expect { build("both").connect(redis_options: { cluster: nodes }) }.to raise_error(RedisIPC::ConnectionError) { |e|
      expect(e.message).to include("cluster at 127.0.0.1:#{ports[0]}, 127.0.0.1:#{ports[1]}")
      expect(e.message).not_to include("hunter2")
      expect(e.outcome).to eq(:not_sent)
    }
  end

  it "has one database, and no sentinels" do
    { db: 1, sentinels: [{ host: "127.0.0.1" }], url: "redis://127.0.0.1" }.each do |name, value|
      options = { cluster: cluster.seeds, name: "mymaster", name => value }
      expect { build("both").connect(redis_options: options) }.to raise_error(RedisIPC::ConfigurationError)
    end
  end

  { "an inbox" => ->(_, answerer) { "house:inbox:#{answerer}" },
    "a reply stream" => ->(asker, _) { "house:replies:asker:#{asker.instance_id}" },
    "the presence" => ->(*) { "house:instances" } }.each do |what, key_of|
    it "the slot of #{what} moves under load, and no call fails", timeout: 90 do
      group = group_on(cluster.masters.sample)
      runs = Queue.new
      build_in(group, consumer: { pool_size: 4, lease: 0.6 }) do |entry|
        runs << entry.id
        fulfill_request(entry, content: entry.content)
      end
      asker = build_in("asker")
      key = key_of.call(asker, group)
      under_load(asker, to: group) do |answered|
        2.times do
          source = cluster.master_of(key)
          target = (cluster.masters - [source]).sample
          # Between the two steps the slot has moved for some keys and not for others.
          cluster.move(key, target) do
            more_answers(answered)
            expect(asker.instances.map { |row| row[:group] }).to contain_exactly("asker", group)
          end
          more_answers(answered)
          expect(target.client.exists?(key)).to be(true)
        end
      end
      expect(asker.stats).to include(failed: 0, timed_out: 0, resent: 0, answers_unmatched: 0)
      ids = Array.new(runs.size) { runs.pop }
      expect(ids.uniq.size).to eq(ids.size)
      expect(Array.new(errors.size) { errors.pop.message }).to be_empty
    end
  end

  %i[at_least_once at_most_once].each do |guarantee|
    it "the slot of a JSON-RPC queue moves under load, and no call fails (#{guarantee})", timeout: 90 do
      options = { redis_options: { **cluster.options, connect_timeout: 2 } }
      runs = Queue.new
      server = keep(RedisIPC::JSONRPC::Server.new("{q}", guarantee: guarantee, threads: 4, **options)).last
      server.on("echo") { |value| (runs << value) && value }.connect
      client = keep(RedisIPC::JSONRPC::Client.new("{q}", **options)).last.connect
      stop = false
      told = Queue.new
      threads = Array.new(4) do |thread|
        Thread.new do
          (0..).each do |number|
            break if stop

            question = "#{thread}/#{number}"
            told << [question, client.call("echo", question)]
          rescue RedisIPC::Error => e
            told << [question, e]
          end
        end
      end
      3.times do
        more_answers(told)
        target = (cluster.masters - [cluster.master_of("{q}")]).sample
        # Between the two steps the slot has moved for some keys and not for others. A command that moves a request from
        # one list to another has to wait then. Calls go on.
        cluster.move("{q}", target) do
          guarantee == :at_most_once ? more_answers(told) : eventually { target.client.keys.include?("{q}") }
        end
        more_answers(told)
      end
      stop = true
      threads.each(&:join)
      wrong = Array.new(told.size) { told.pop }.reject { |question, answer| question == answer }
      expect(wrong).to be_empty
      ran = Array.new(runs.size) { runs.pop }
      expect(ran.tally.reject { |_, count| count == 1 }).to be_empty
      expect(Array.new(errors.size) { errors.pop.message }).to be_empty
    ensure
      stop = true
      threads&.each(&:join)
      rpc_ends.each(&:disconnect)
    end
  end

  it "a node hands over to its replica under load, and nothing is mixed up", timeout: 90 do
    group = group_on(cluster.masters.first)
    build_in(group, consumer: { pool_size: 4 }, &echo)
    asker = build_in("asker")
    old = cluster.master_of("house:inbox:#{group}")
    under_load(asker, to: group) do |answered|
      replica = cluster.replica_of(old)
      replica.client.call("CLUSTER", "FAILOVER")
      eventually(timeout: 20) { cluster.master_of("house:inbox:#{group}") == replica }
      more_answers(answered)
    end
    expect(asker).to be_connected
    # Restores the cluster for the other examples.
    eventually(timeout: 20) { old.client.info("replication")["master_link_status"] == "up" }
  end

  context "with a cluster of its own" do
    around do |example|
      shared = @cluster
      @cluster = RedisCluster.new
      example.run
    ensure
      disconnect_streams
      @cluster.stop
      @cluster = shared
    end

    { "dies" => :kill, "hangs" => :hang }.each do |what, fault|
      it "a master #{what} under load, all is back soon after there is another, the books balance", timeout: 90 do
        expect_survival { |master| send(fault, master) }
      end
    end

    def kill(node)
      node.kill
    end

    def hang(node)
      Process.kill(:STOP, node.pid)
    end

    def expect_survival
      group = group_on(cluster.masters.first)
      answerer = build_in(group, consumer: { pool_size: 4 }, &echo)
      asker = build_in("asker")
      key = "house:inbox:#{group}"
      old = cluster.master_of(key)
      replica = cluster.replica_of(old)
      took = under_load(asker, to: group, timeout: 2) do |answered|
        yield old
        cluster.without(old)
        eventually(timeout: 20) { cluster.master_of(key) == replica }
        seconds { more_answers(answered) }
      end
      expect(took).to be < 4
      eventually { [asker, answerer].all?(&:connected?) }
      expect(errors.size).to be_positive
    end
  end

  it "a request whose process dies is taken over by another one" do
    group = group_on(cluster.masters.first)
    process = ruby(<<~RUBY, redis_url: cluster.nodes.first.url)
      stream = RedisIPC::Stream.new("house", #{group.inspect})
      stream.on_request do
        puts "taken"
        sleep
      end
      stream.connect(consumer: { lease: 0.5 })
      puts "ready"
      sleep
    RUBY
    expect(process.line).to eq("ready")
    future = build_in("asker").async_send_to_group(content: 1, to: group)
    expect(process.line).to eq("taken")
    build_in(group, consumer: { lease: 0.5 }) { |entry| fulfill_request(entry, content: entry.redelivered?) }
    process.kill
    expect(future.value).to be(true)
  end

  it "a forked child is an instance of its own, and keeps nothing of its parent's open" do
    group = group_on(cluster.masters.first)
    before = sockets
    build_in(group, &echo)
    parent = build_in("asker")
    expect(parent.send_to_group(content: 1, to: group).value).to eq(1)
    own = sockets - before
    expect(own.size).to be >= 6
    reader, writer = IO.pipe
    pid = fork do
      value = parent.send_to_group(content: 2, to: group).value
      writer.write(Marshal.dump([value, parent.instance_id, sockets & own]))
      writer.close
      exit!(0)
    end
    writer.close
    value, instance, kept = Marshal.load(reader.read) # rubocop:disable Security/MarshalLoad
    Process.wait(pid)
    expect([value, kept]).to eq([2, []])
    expect(instance).not_to eq(parent.instance_id)
    expect(parent.send_to_group(content: 3, to: group).value).to eq(3)
    expect(parent.stats).to include(reconnections: 0)
  end

  it "disconnecting leaves no keys, threads and sockets" do
    cluster.flush
    cluster.masters # the example's own clients are connected
    before = [sockets.size, threads]
    groups = cluster.masters.map { |node| group_on(node) }
    opened = groups.map { |group| build_in(group, &echo) }
    opened.product(groups) { |stream, to| stream.send_to_group(content: 1, to: to) }
    records = opened.map { |it| "house:stats:#{it.group_name}:#{it.instance_id}" }
    expect(cluster.keys).to include("house:stats", *records)
    opened.each(&:disconnect)
    eventually { cluster.keys.empty? }
    # Connections and threads of other examples may end meanwhile.
    eventually { sockets.size <= before[0] && threads <= before[1] }
  end

  def threads
    Dir.children("/proc/self/task").size
  end

  def sockets
    Dir.children("/proc/self/fd").filter_map do |fd|
      File.readlink("/proc/self/fd/#{fd}")[/socket:\[\d+\]/]
    rescue Errno::ENOENT
      nil
    end
  end

  it "an instance goes on soon after its group may, though its control key has moved to another node" do
    group = group_on(cluster.masters.first)
    control = "house:control:#{group}"
    cluster.master_of(control).client.set(control, JSON.generate(v: 1, paused: true))
    stream = build_in(group, consumer: { lease: 0.5 }, &echo)
    expect(stream).to be_paused
    cluster.move(control, (cluster.masters - [cluster.master_of(control)]).first)
    cluster.master_of(control).client.del(control)
    eventually { !stream.paused? }
    expect(errors).to be_empty
  end

  it "an instance that leaves hands what it did not start to the others, at once" do
    group = group_on(cluster.masters.first)
    handler = proc do |entry|
      sleep 0.002
      fulfill_request(entry, content: entry.content)
    end
    build_in(group, &handler)
    asker = build_in("asker")
    3.times do
      leaver = build_in(group, &handler)
      call = proc { asker.send_to_group(content: 1, to: group, timeout: 20).value! }
      asking = Array.new(20) { Thread.new { Array.new(10) { seconds(&call) } } }
      eventually { leaver.stats[:taken] > 5 }
      leaver.disconnect
      # Without the hand-over, others would find it only after 1.8 s.
      expect(asking.flat_map(&:value).max).to be < 1.5
    end
  end
end

# frozen_string_literal: true

RSpec.describe RedisIPC::Admin, "where there is more than one Redis" do
  after { @admin&.close }

  def admin(**options)
    @admin = described_class.new(streams: ["house"], **options)
  end

  # Returns what the block returns, or nil while Redis is away.
  def attempt
    yield
  rescue RedisIPC::CallError
    nil
  end

  def observer(*clients, **more)
    rules = RedisIPC::ACL.rules(:observer, stream: "house", **more)
    clients.each { |client| client.call("ACL", "SETUSER", "looking", "on", ">secret", *rules) }
    { username: "looking", password: "secret" }
  end

  describe "in a cluster" do
    before(:context) { @cluster = RedisCluster.new(replicas: 0) }

    after(:context) { @cluster.stop }

    before { @cluster.flush }

    it "reads from each node, given one of them, and follows a slot that has moved" do
      names = @cluster.masters.map { |node| @cluster.name_on(node) { |name| "house:inbox:#{name}" } }
      names.each { |name| build(name, &echo).connect(redis_options: @cluster.options) }
      login = observer(*@cluster.masters.map(&:client), cluster: true)
      looking = admin(redis_options: { **@cluster.options, **login })
      groups = looking.groups("house")
      expect(groups.map(&:name)).to match_array(names)
      expect(groups).to all(have_attributes(instances: 1, serving: 1, waiting: 0, dead: 0))
      expect(looking.redis.map(&:address)).to match_array(@cluster.masters.map { |node| "127.0.0.1:#{node.port}" })
      expect(looking.redis).to all(have_attributes(role: "master", clock_offset: be_between(-1, 1)))
      @cluster.move("house:inbox:#{names.first}", @cluster.masters.last) do
        expect(looking.group("house", names.first)).to have_attributes(waiting: 0, instances: 1)
      end
      expect(looking.group("house", names.first)).to have_attributes(waiting: 0, instances: 1)
    end

    it "acts at the node of each key, also when it was given a node by its URL" do
      names = @cluster.masters.map { |node| @cluster.name_on(node) { |name| "house:control:#{name}" } }
      acting = admin(redis_options: { url: @cluster.masters.first.url })
      names.each { |name| expect(acting.pause("house", name, by: "ann")).to be(true) }
      expect(names.map { |name| acting.group("house", name).paused_by }).to eq(%w[ann] * 3)
      build("child", &echo).connect(redis_options: @cluster.options)
      expect(acting.request("house", "child", 1)).to have_attributes(outcome: :fulfilled, value: 1)
      expect(acting.clean("house", dry: false)).to match_array(names.map { |name| "house:control:#{name}" })
      expect(acting.overview.nodes.size).to eq(3)
    end
  end

  it "follows the master that sentinels name" do
    master, other = Array.new(2) { start_server }
    sentinel = RedisSentinel.new(master)
    build("child", &echo).connect(redis_options: { url: other.url })
    looking = admin(redis_options: { **sentinel.redis_options,
**observer(master.client, other.client, sentinels: true) })
    eventually { attempt { looking.groups("house") } == [] }
    expect(looking.redis).to match([have_attributes(role: "master", address: "127.0.0.1:#{master.port}")])
    sentinel.watch(other)
    master.kill
    eventually { attempt { looking.groups("house").map(&:name) } == ["child"] }
    expect(looking.redis.map(&:address)).to eq(["127.0.0.1:#{other.port}"])
  ensure
    sentinel&.stop
  end

  it "may be asked by fibers at the same time" do
    connected = build("child", &echo).connect(redis_options: redis_options)
    looking = admin(redis_options: redis_options)
    found = FiberScheduler.run do
      rows = []
      5.times { Fiber.schedule { rows << looking.overview.instances.map(&:id) } }
      eventually { rows.size == 5 }
      rows
    end
    expect(found).to eq([[connected.instance_id]] * 5)
  end

  it "tells that Redis is away, and goes on when it is back, also in a forked child" do
    server = start_server
    looking = admin(redis_options: { path: server.path, connect_timeout: 0.3 })
    expect(looking.groups("house")).to eq([])
    child = fork { exit!(looking.groups("house") == [] ? 0 : 1) }
    Process.wait(child)
    expect(Process.last_status).to be_success
    server.kill
    expect { looking.groups("house") }.to raise_error(RedisIPC::ConnectionError)
    server.start
    eventually { attempt { looking.groups("house") } == [] }
    looking.close
    expect { looking.groups("house") }.to raise_error(RedisIPC::NotConnectedError, /was closed/)
  end
end

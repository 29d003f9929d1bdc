# frozen_string_literal: true

RSpec.describe RedisIPC::Admin do
  include Records
  include JSONRPCEnds

  after do
    @admins&.each(&:close)
    redis.call("ACL", "DELUSER", "operations")
  end

  def admin(**options)
    opened = described_class.new(**{ streams: ["house"], redis_options: redis_options }, **options)
    (@admins ||= []) << opened
    opened
  end

  # Returns an admin whose user has the rules of a role.
  def admin_as(role, **names)
    redis.call("ACL", "LOG", "RESET")
    redis.call("ACL", "SETUSER", "operations", "reset", "on", ">secret", *RedisIPC::ACL.rules(role, **names))
    admin(streams: names[:stream] || [], queues: names[:queue] || [], consumers: names[:events] || [],
          redis_options: { **redis_options, username: "operations", password: "secret" })
  end

  def refused
    redis.call("ACL", "LOG").map { |row| row.each_slice(2).to_h.values_at("username", "object") }
  end

  # Writes a dead letter of the group "child".
  def bury(id, content:)
    redis.xadd("house:dead:child", { dead_id: "5-0", dead_reason: "delivered too often", dead_deliveries: "6",
                                     dead_at: "1700000000000", id: id, instance_id: "i", status: "pending",
                                     content: content, source_group: "parent", destination_group: "child",
                                     reply_to: "house:replies:parent:i", ttl: "5000" })
  end

  # Everything that Redis holds, but for what changes by itself.
  def kept
    redis.keys.sort.to_h { |key| [key, [redis.type(key), redis.pttl(key) == -1]] }
  end

  describe "of a stream" do
    it "shows who is there, what waits, who has it, and what was given up on, and leaves nothing" do
      started = Queue.new
      gate = Queue.new
      child = connect("child", consumer: { pool_size: 1 }, &held(started, gate))
      parent = connect("parent")
      parent.async_send_to_group(content: { secret: 1 }, to: "child", timeout: 20)
      next_of(started)
      bury("9b1d", content: '{"dish":"pasta"}')
      before = kept
      looking = admin_as(:observer, stream: "house")

      groups = looking.groups("house")
      expect(groups.map(&:name)).to eq(%w[child parent])
      expect(groups.first).to have_attributes(instances: 1, serving: 1, waiting: 0, taken: 1, dead: 1, oldest: nil,
                                              handlers: 1, busy: Integer, paused?: false, known?: true)
      expect(groups.last).to have_attributes(instances: 1, serving: 0, dead: 0)
      expect(looking.instances("house").map(&:id)).to contain_exactly(child.instance_id, parent.instance_id)
      expect(looking.instance("house", child.instance_id))
        .to have_attributes(group: "child", pid: Process.pid, alive?: true, lease: 2.0, kind: :request_reply)
      request, = looking.requests("house", "child")
      expect(request).to have_attributes(state: :taken, from: "parent", holder: child.instance_id, delivery: 1,
                                         age: be_between(0, 5), expires_in: be_between(10, 20.1))
      expect(looking.trace("house", request.id))
        .to have_attributes(found?: true, holder: have_attributes(id: child.instance_id))
      letter, = looking.dead_letters("house", "child", match: "pasta")
      expect(letter).to have_attributes(reason: "delivered too often", deliveries: 6, from: "parent",
                                        request_id: "9b1d", died_at: Time.at(1_700_000_000), content: { dish: "pasta" })
      expect(letter.to_h.keys).not_to include(:reader, :content)
      expect(looking.dead_letters("house", "child", match: "pasta", match_content: false)).to be_empty
      expect(looking.group("house", "chidl")).to have_attributes(known?: false, instances: 0)
      expect(looking.redis).to match([have_attributes(
        role: "master", version: /\A\d/, user: "operations", latency: be_positive,
        connections: include("observer" => be_positive, "reader" => be_positive, "work" => be_positive)
      )])
      expect(looking.overview).to have_attributes(groups: have_attributes(size: 2), queues: [], findings: be_an(Array))

      expect(refused.select { |user, _| user == "operations" } - [%w[operations config|get]]).to eq([])
      expect { looking.discard_dead_letter("house", "child", letter.id) }
        .to raise_error(RedisIPC::CommandError, /NoPerm.*\+xdel/i)
      expect(kept).to eq(before)
      gate << :open
    end

    it "tells what waits from what was given back, and what was withdrawn" do
      inbox = "house:inbox:child"
      redis.xgroup(:create, inbox, "child", "0", mkstream: true)
      ids = Array.new(4) { |n| redis.xadd(inbox, { id: n.to_s, source_group: "parent", ttl: "5000", content: "1" }) }
      redis.xreadgroup("child", "worker", inbox, ">", count: 3)
      redis.call("XCLAIM", inbox, "child", "worker", "0", ids[1], "IDLE", "604800000", "RETRYCOUNT", "0", "JUSTID")
      redis.xdel(inbox, ids[2])
      found = admin.requests("house", "child")
      expect(found.map { |one| [one.redis_id, one.state, one.holder] })
        .to eq([[ids[0], :taken, "worker"], [ids[1], :waiting, nil], [ids[2], :withdrawn, "worker"],
                [ids[3], :waiting, nil]])
      expect(admin.requests("house", "child", limit: 2).map(&:redis_id)).to eq(ids.first(2))
      expect(admin.requests("house", "child", limit: 2, after: ids[1]).map(&:redis_id)).to eq(ids.last(2))
      expect(admin.requests("house", "nobody")).to eq([])
      expect(admin.group("house", "child")).to have_attributes(waiting: 2, taken: 1, oldest: be_between(0, 5))
      redis.xdel(inbox, ids[1], ids[3])
      expect(admin.group("house", "child")).to have_attributes(waiting: 0, taken: 1, oldest: nil)
    end

    it "reads the records of instances, whatever they hold" do
      show("house", "child", "a")
      show("house", "child", "b")
      write_record(
        "house", "child", "a",
        handlers: 3, busy: 2, paused: false, settings: { lease: 2_000 }, counters: { requests: 12, odd: "x" },
        running: [{ id: "9b1d", from: "parent", event: "greet", delivery: 2, since: now_ms - 4_000,
                    frame: "app/ipc/kitchen_ipc.rb:12:in `cook'" }],
        outcomes: { child: { fulfilled: 9, rejected: 1 } },
        incidents: [{ at: now_ms, kind: "take_over", text: "took 9b1d over" }],
        series: { every: 10_000, asked: [5, 10], answered: [1, 2], failed: [0, 1], run_ms: [1, 1] },
        histograms: { run: Records.histogram(*Array.new(99, 0.001), 1.0) }
      )
      write_record("house", "child", "b",
                   handlers: 3, busy: 1, histograms: { run: Records.histogram(*Array.new(100, 0.002)) },
                   series: { every: 10_000, asked: [5], answered: [1], failed: [0], run_ms: [0] })
      write_record("house", "child", "dead", handlers: 9, outcomes: { later: { unclaimed: 1 } })
      redis.xadd("house:inbox:later", { id: "7c2f", source_group: "child" })
      expect(admin.trace("house", "7c2f").requests).to match([have_attributes(group: "later", state: :waiting)])
      redis.zadd("house:stats", now_ms, "child:forgotten")
      write_record("house", "child", "wild", handlers: "9", running: [1, { since: "x" }], histograms: { run: [] },
                                             series: 7, outcomes: [], incidents: [{ kind: 1 }], counters: "no")
      redis.set("house:stats:child:wild2", "no json")
      redis.zadd("house:stats", now_ms, "child:wild2")

      group = admin.group("house", "child")
      expect(group).to have_attributes(instances: 2, handlers: 6, busy: 3, asked: 1.0, answered: 0.2, failed: 0.05)
      expect(group.series).to have_attributes(asked: [5, 15], answered: [1, 3])
      expect(group.run).to have_attributes(count: 200, sum: be_within(1e-9).of(1.299), max: 1.0)
      expect(group.run.p(0.25)).to be_within(0.00005).of(0.001)
      expect(group.run.p(0.95)).to be_within(0.0001).of(0.002)
      expect(group.run.p(1)).to be_within(0.05).of(1.0)
      instances = admin.instances("house", group: "child").to_h { |one| [one.id, one] }
      expect(instances.keys).to match_array(%w[a b dead wild])
      expect(instances["dead"]).to have_attributes(alive?: false, handlers: 9)
      expect(instances["wild"]).to have_attributes(handlers: nil, running: [have_attributes(id: nil)], run: nil)
      expect(instances["a"]).to have_attributes(
        busy: 2, counters: { "requests" => 12 }, outcomes: { "child" => { "fulfilled" => 9, "rejected" => 1 } },
        oldest: have_attributes(id: "9b1d", age: be_between(4, 10), frame: /kitchen_ipc/, delivery: 2),
        incidents: [have_attributes(kind: :take_over)], paused?: false
      )
      expect(admin.trace("house", "9b1d"))
        .to have_attributes(holder: have_attributes(id: "a"), incidents: have_attributes(size: 1))
      expect(JSON.parse(group.to_json)).to include("run" => include("p99" => be_a(Float)), "paused" => false)
    end

    it "shows as unknown what no process can have meant, and what no name can be as nothing" do
      %w[a b].each { |id| show("house", "child", id) }
      beyond = 10**400
      filled = { scale: 3, count: 30, sum: 1.0, min: 0.1, max: 0.2, zero: 0, offset: -20, buckets: [30] }
      runs = [{ min: 5, max: 1 }, { scale: -10, offset: 100_000, max: nil }, { offset: -100_000 }, { sum: beyond },
              { count: 90, max: nil }, { buckets: [-5, 30] }, { count: beyond, buckets: [beyond] }]
      records = [{ written: -beyond, started: beyond }, { handlers: beyond, busy: -beyond, settings: { a: beyond } },
                 { series: { every: 1, asked: [beyond], answered: [], failed: [], run_ms: [] } },
                 { events: { source: "keys", lag: beyond, oldest: -beyond } },
                 *runs.map { |run| { histograms: { run: filled.merge(run) } } }]
      write_record("house", "child", "b", histograms: { run: filled })
      redis.set("house:control:child", JSON.generate(paused: true, at: -beyond, by: "me"))
      redis.xgroup(:create, "house:inbox:child", "child", "0", mkstream: true)
      redis.xadd("house:inbox:child", { id: "9b1d", source_group: "parent", ttl: beyond, content: "1" })
      redis.xadd("house:dead:child", { dead_at: beyond, dead_deliveries: beyond, dead_reason: "\xFF".b })
      redis.rpush("jobs", JSON.generate(deadline: beyond))
      redis.zadd("jobs:servers", now_ms, "\xFF".b)
      redis.xgroup(:create, "orders", "\xFFgroup".b, "0", mkstream: true)
      redis.hset("orders:events:billing", "lanes", "2", "o:0", "\xFF 1".b, "i:\xFF".b, "\xFF".b)
      redis.set("house:inbox:\xFF".b, "1")
      looking = admin(queues: %w[jobs], consumers: %w[orders])
      records.each do |record|
        write_record("house", "child", "a", **record)
        write_record("orders", "billing", "a", kind: "events", **record)
        write_record("jobs", "", "a", kind: "json_rpc", **record)
        overview = looking.overview
        expect(JSON.parse(JSON.generate(overview.to_h.slice(:groups, :instances, :queues, :event_groups)))).to be_any
        expect(overview.groups.first.run&.p(0.95)).to be_nil.or(be_between(0, 1e12))
      end
      names = [*1..200, "long" * 1_000].to_h { |name| [name, { fulfilled: 1 }] }
      write_record("house", "child", "a", outcomes: names.to_a.reverse.to_h)
      expect(looking.instance("house", "a").outcomes.size).to eq(64)
      expect(looking.findings.map(&:kind)).to include(:paused)
      expect(looking.group("house", "child").paused_at).to be_nil
      expect(looking.requests("house", "child").first.expires_in).to be_nil
      expect(looking.dead_letters("house", "child").first).to have_attributes(died_at: nil, deliveries: nil)
      expect(looking.queue("jobs")).to have_attributes(expires_in: nil, servers: [have_attributes(id: "a")])
    end

    it "pauses and resumes whatever stood there before" do
      looking = admin
      redis.set("house:control:child", "\xFF".b)
      expect { looking.pause("house", "child", by: "me") }.to raise_error(RedisIPC::CommandError, /is no text/)
      ['{"paused":true,"at":1e999,"more":1e999}', "[" * 200, "7"].each do |odd|
        redis.set("house:control:child", odd)
        expect(looking.quiet("house", "child", "i", by: "\xFF".b)).to be(true)
        expect(looking.group("house", "child").quiet).to eq(%w[i])
        looking.unquiet("house", "child", "i")
        looking.resume("house", "child")
        expect(redis.get("house:control:child")).to be_nil
      end
    end

    it "pauses, quiets and resumes, retries and discards, and asks" do
      acting = admin_as(:operator, stream: "house")
      expect(acting.pause("house", "child", by: "ann")).to be(true)
      expect(acting.pause("house", "child", by: "bob")).to be(false)
      expect(acting.quiet("house", "child", "a", by: "ann")).to be(true)
      expect(JSON.parse(redis.get("house:control:child")))
        .to match("v" => 1, "paused" => true, "quiet" => ["a"], "at" => be_within(60_000).of(now_ms), "by" => "ann")
      expect(acting.group("house", "child")).to have_attributes(paused?: true, paused_by: "ann", quiet: ["a"])
      expect([acting.resume("house", "child"), acting.resume("house", "child")]).to eq([true, false])
      expect(acting.unquiet("house", "child", "a")).to be(true)
      expect(redis.exists("house:control:child")).to eq(0)

      expect(acting.request("house", "child", 1, timeout: 0.05))
        .to have_attributes(outcome: :unclaimed, reason: /withdrawn/)
      connect("child") { |entry| entry.content == 3 ? entry.reject("no") : entry.fulfill(entry.content) }
      expect(acting.request("house", "child", { a: 1 }, event: "cook"))
        .to have_attributes(outcome: :fulfilled, value: { event: "cook", params: { a: 1 } }, seconds: be_between(0, 5))
      expect(acting.request("house", "child", 3)).to have_attributes(outcome: :rejected, reason: "no")

      letters = Array.new(2) { bury("9b1d", content: "7") }
      mark = redis.xadd("house:dead:child", { dead_id: "5-0", dead_holders: '[{"instance":"a","delivery":1}]',
                                              dead_suspect: "1", id: "9b1d", destination_group: "child" })
      expect(acting.dead_letter("house", "child", mark))
        .to have_attributes(suspect?: true, holders: [{ instance: "a", delivery: 1 }], request_id: "9b1d")
      redis.xdel("house:dead:child", mark)
      expect(acting.retry_dead_letter("house", "child", letters[0])).to be(true)
      discarded = Array.new(2) { acting.discard_dead_letter("house", "child", letters[1]) }
      expect(discarded).to eq([true, false])
      expect(redis.xlen("house:dead:child")).to eq(0)
      expect(refused.select { |user, _| user == "operations" }).to eq([])
    end
  end

  it "shows a queue of JSON-RPC, and puts dead requests back or discards them" do
    redis.lpush("jobs", JSON.generate(jsonrpc: "2.0", method: "slow", id: 1, deadline: now_ms + 60_000))
    texts = %w[add sub].map { |name| JSON.generate(jsonrpc: "2.0", method: name, params: [1, 2], id: name) }
    texts.each { |text| redis.lpush("jobs:dead", text) }
    redis.lpush("jobs:dead", "jobs:reply:0123456789abcdef![7]")
    acting = admin_as(:operator, queue: "jobs")
    expect(acting.queue("jobs")).to have_attributes(waiting: 1, servers: [], dead: 3, processing: 0, paused?: false,
                                                    expires_in: be_between(50, 60.1))
    letters = acting.queue_dead("jobs")
    expect(letters.map(&:event)).to eq([nil, "sub", "add"])
    expect(acting.queue_dead("jobs", limit: 1, after: letters[0].id).map(&:event)).to eq(["sub"])
    expect(acting.queue_dead("jobs", match: '"add"').map(&:content)).to match([include(params: [1, 2])])
    expect(letters[0].content).to eq([7])
    expect(acting.queue_dead_letter("jobs", letters[1].id)).to have_attributes(request_id: "sub")
    expect(acting.queue_retry_dead_letter("jobs", letters[2].id)).to be(true)
    expect(acting.queue_discard_dead_letter("jobs", letters[1].id)).to be(true)
    expect(acting.queue_discard_dead_letter("jobs", letters[1].id)).to be(false)
    expect(redis.lrange("jobs", -1, -1)).to eq([texts.first])
    rpc_server("jobs") { |server| %w[add slow].each { |name| server.on(name) { |*given| given } } }
    server = redis.zrange("jobs:servers", 0, 0).first
    # Its own record comes first, and the next one 10 s later.
    eventually { redis.exists?("jobs:stats::#{server}") }
    write_record("jobs", "", server, kind: "json_rpc", handlers: 5, busy: 1)
    expect(acting.queues).to match([have_attributes(handlers: 5, busy: 1, servers: [have_attributes(alive?: true)])])
    expect(acting.call("jobs", "add", [3])).to have_attributes(outcome: :fulfilled, value: [3])
    expect(acting.call("jobs", "no_such")).to have_attributes(outcome: :rejected, reason: /-32601/)
    expect(refused.select { |user, _| user == "operations" }).to eq([])
  end

  # Consumes "orders" as a user of its own, and fails all events until the gate is open.
  def failing_consumer(gate, got, **words)
    consume(attempts: 1, lease: 0.3, **words) do |event|
      raise IOError, "closed" unless gate.key?(:open)

      got << event.data
    end
  end

  { nil => "without an order", :key => "in order", [:key, { partitions: 2 }] => "in partitions" }.each do |order, name|
    it "shows and moves a group of events #{name}, and has its dead letters handled again or discarded" do
      gate = {}
      got = Queue.new
      parts = order.is_a?(Array) ? order.last : {}
      acting = admin_as(:operator, events: "orders")
      failing_consumer(gate, got, **(order ? { order: order } : {}))
      3.times { |number| publish(number, key: number, **parts) }
      letters = eventually { (found = acting.event_dead_letters("orders", "billing")).size == 3 && found }
      expect(letters.map { |letter| [letter.content, letter.key, letter.reason] })
        .to match_array((0..2).map { |number| [number, number.to_s, "IOError: closed"] })
      group = eventually { acting.event_groups.find { |one| one.lag&.zero? } }
      expect(group).to have_attributes(stream: "orders", name: "billing", dead: 3, source: "stream",
                                       instances: [have_attributes(alive?: true)], ordered?: !order.nil?,
                                       partitions: parts[:partitions])
      expect(group.lanes_owned).to eq(group.lanes)
      gate[:open] = true
      by_content = letters.to_h { |letter| [letter.content, letter.id] }
      expect(acting.event_retry_dead_letter("orders", "billing", by_content[1])).to be(true)
      expect(next_of(got)).to eq(1)
      expect(acting.event_discard_dead_letter("orders", "billing", by_content[0])).to be(true)
      expect(acting.event_discard_dead_letter("orders", "billing", by_content[0])).to be(false)
      eventually { acting.event_dead_letters("orders", "billing").map(&:content) == [2] }
      expect(acting.event_dead_letter("orders", "billing", by_content[2]).content).to eq(2)
      expect(acting.seek("orders", "billing", :beginning)).to match(/\A\d+-\d+\z/)
      # A blocked reader is not woken by a move. The event that was just handled may not be acknowledged yet.
      publish(3, **parts)
      seen = []
      seen << next_of(got) until ([0, 2, 3] - seen).empty?
      expect { acting.seek("orders", "billing", "soon") }.to raise_error(ArgumentError, /a position is/)
      expect(refused.select { |user, _| user == "operations" }).to eq([])
    end
  end

  it "shows requests as they come, finds streams, and looks what rights a user lacks" do
    connect("child", &echo)
    acting = admin_as(:operator, stream: "house")
    before = acting.tap("house", "kitchen", wait: 0.001)
    expect(before).to have_attributes(requests: [], after: /\A\d+-\d+\z/)
    seen = Thread.new { acting.tap("house", "kitchen", after: before.after, wait: 5) }
    redis.xadd("house:inbox:kitchen", { id: "9", source_group: "peer", ttl: "5000", content: '{"event":"cook"}' })
    tapped = seen.value
    expect(tapped.requests).to match([have_attributes(id: "9", from: "peer", event: "cook", content: { event: "cook" },
                                                      expires_in: be_between(0, 5.1))])
    expect(tapped.after).to eq(tapped.requests.last.redis_id)
    expect(acting.known_streams).to eq(["house"])
    expect { acting.rights(:asker, stream: "house", group: "a", to: "b") }.to raise_error(RedisIPC::CommandError)
    expect(admin.rights(:operator, stream: "house", user: "operations")).to eq([])
    lacking = admin.rights(:answerer, stream: "house", group: "child", user: "operations")
    expect(lacking.map(&:text)).to include("the user operations may not XACK house:inbox:child")
    expect(lacking.map(&:advice)).to include(/SETUSER operations \(~house:inbox:child \+xack\)/)
    expect(lacking.map(&:text).join).not_to match(/XADD house:inbox|XPENDING house:inbox|TIME/)
    expect(admin.rights(:observer, stream: "house")).to eq([])
  end

  it "sends Redis few commands for a page view of 100 instances and 50 groups" do
    50.times do |number|
      2.times do |index|
        show("house", "group#{number}", "#{number}-#{index}")
        write_record("house", "group#{number}", "#{number}-#{index}", handlers: 3, busy: 1)
      end
      redis.xadd("house:inbox:group#{number}", { id: "1" })
    end
    looking = admin
    looking.overview
    before = redis.info["total_commands_processed"].to_i
    found = looking.overview
    expect(redis.info["total_commands_processed"].to_i - before).to be <= 300
    expect(found).to have_attributes(groups: have_attributes(size: 50), instances: have_attributes(size: 100))
    expect(found.groups).to all(have_attributes(instances: 2, handlers: 6, busy: 2, waiting: 1))
  end

  it "finds keys of a stream that nobody owns, and deletes them only if told to" do
    connect("child", &echo)
    redis.xgroup(:create, "house:inbox:gone", "gone", "0", mkstream: true)
    redis.xadd("house:inbox:later", { id: "1" })
    redis.pexpire("house:inbox:later", 60_000)
    redis.xadd("house:replies:gone:abc", { id: "1" })
    redis.xadd("house:replies:peer:abc", { id: "1" })
    redis.pexpire("house:replies:peer:abc", 30_000)
    redis.set("house:control:gone", "{}")
    redis.set("household:control:gone", "{}")
    abandoned = %w[house:control:gone house:inbox:gone house:replies:gone:abc]
    acting = admin_as(:operator, stream: "house")
    expect(acting.clean("house")).to eq(abandoned)
    expect(redis.exists(*abandoned)).to eq(3)
    expect(acting.clean("house", dry: false)).to eq(abandoned)
    expect(acting.clean("house")).to eq([])
    expect(redis.exists("house:inbox:child", "house:inbox:later", "house:replies:peer:abc")).to eq(3)
  end
end

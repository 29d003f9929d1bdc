# frozen_string_literal: true

require "redis_ipc/cli"

RSpec.describe RedisIPC::Admin, "findings" do
  include Records

  after { @admin&.close }

  # Of each finding the commands that it advises are checked, too.
  def admin(**options)
    @admin = described_class.new(**{ streams: ["house"], redis_options: redis_options }, **options)
    allow(@admin).to(receive(:findings).and_wrap_original { |findings| findings.call.each { |one| check(one.advice) } })
    @admin
  end

  # Whether the command takes these lines as they are, without a name that its environment has.
  def check(advice)
    advice.scan(/redis_ipc [^;]+/) do |line|
      verb, words = RedisIPC::CLI::Catalog.find(line.shellsplit.drop(1))
      given = RedisIPC::CLI::CommandLine.read(verb, words)
      expect(given.values_at(:stream, :queue, :events, :rpc)).to include(be_truthy), "#{line} names no stream"
    end
  end

  # Returns the findings of these kinds.
  def found(*kinds, **options)
    admin(**options).findings.select { |finding| kinds.include?(finding.kind) }
  end

  def serving(group, id, host: "web-7", **more)
    show("house", group, id, host: host)
    write_record("house", group, id, handlers: 3, busy: 0, host: host, **more)
  end

  it "are none where all is well" do
    serving("child", "a")
    serving("child", "b")
    expect(admin(queues: ["jobs"], consumers: ["orders"]).findings).to eq([])
  end

  it "name who is missing, misspelt or paused, the worst first" do
    serving("child", "a")
    show("house", "parent", "p", lease: nil)
    write_record("house", "parent", "p", outcomes: { child: { fulfilled: 1 }, chidl: { unclaimed: 3 }, "*": {} })
    redis.xadd("house:inbox:kitchen", { id: "1" })
    redis.pexpire("house:inbox:kitchen", 60_000)
    redis.zadd("house:stats", now_ms + 600_000, "kitchen")
    redis.set("house:control:child", JSON.generate(v: 1, paused: true, quiet: ["a"], at: now_ms - 300_000, by: "ann"))
    redis.lpush("jobs", "{}")
    2.times do
      redis.xadd("house:dead:child", { source_group: "menu", dead_reason: "its content is refused: it is not JSON" })
    end
    redis.xadd("house:dead:child", { dead_suspect: "1", dead_holders: '[{"instance":"a","host":"web-7","pid":7}]',
                                     id: "9b1d", destination_group: "child" })
    findings = admin(queues: ["jobs"]).findings
    expect(findings.map { |one| [one.level, one.kind, one.subject] })
      .to eq([[:error, :nobody_serves, "house/kitchen"], [:error, :never_served, "house/chidl"],
              [:error, :nobody_serves, "jobs"], [:error, :suspect, "house/child"], [:warning, :paused, "house/child"],
              [:warning, :dead_letters, "house/child"], [:info, :quiet, "house/child"]])
    by_kind = findings.group_by(&:kind)
    expect(by_kind[:never_served].first).to have_attributes(text: /parent asked chidl/, advice: "did you mean child?")
    expect(by_kind[:paused].first).to have_attributes(text: /paused by ann 5 min ago/,
                                                      advice: "to go on: redis_ipc resume child -s house")
    expect(by_kind[:dead_letters].first)
      .to have_attributes(text: "it has 3 dead letters; 2 of the newest 3 from menu: its content is refused: it is " \
                                "not JSON", advice: /\Astop or mend menu, .*; redis_ipc dead list child -s house; /)
    expect(by_kind[:suspect].first.text).to eq("the request 9b1d may crash its processes: it was with web-7 pid 7, " \
                                               "and was not answered")
    expect(by_kind[:suspect].first.advice)
      .to match(/redis_ipc trace 9b1d -s house; redis_ipc dead show child \d+-\d+ -s/)
    expect(by_kind[:nobody_serves].map(&:text)).to all(start_with("1 request waits, and no"))
  end

  it "name handlers that hang with their line, settings that disagree, and one slow process of several" do
    values = Array.new(30, 0.005)
    running = [{ id: "9b1d", from: "parent", event: "cook", since: now_ms - 60_000,
                 frame: "app/ipc/kitchen_ipc.rb:12" }]
    serving("child", "a", settings: { lease: 2_000 }, histograms: { run: Records.histogram(*values) })
    show("house", "child", "asks", lease: nil)
    write_record("house", "child", "asks", settings: {})
    serving("child", "b", settings: { lease: 2_000 }, histograms: { run: Records.histogram(*values) })
    serving("child", "c", host: "web-9", settings: { lease: 500 }, busy: 1, running: running,
                          histograms: { run: Records.histogram(*Array.new(30, 0.5)) }, gem: "0.0.9")
    findings = found(:stuck_handlers, :disagreeing_settings, :slow_instance, :versions)
    expect(findings.map { |one| [one.level, one.kind] })
      .to eq([%i[error disagreeing_settings], %i[warning stuck_handlers], %i[warning slow_instance], %i[info versions]])
    expect(findings.map(&:text))
      .to match([/lease is 500 ms on web-9 .*, and 2\.0 s on web-7 .*: what .* only after 2\.0 s\z/,
                 %r{1 of 9 handlers busy; on web-9 pid 15752 one has been running for 6\d\.\d s, cook at app/ipc/},
                 /\Aweb-9 pid 15752 is \d+ times slower than the 2 others \(p95 \d+ ms, theirs 5 ms\)/,
                 /0\.0\.9 and #{RedisIPC::VERSION}/])
    overrun = [{ at: now_ms, kind: "overrun", text: "9b1d" }]
    %w[a b c].each do |id|
      write_record("house", "child", id, handlers: 3, busy: 3, running: running, incidents: overrun)
    end
    redis.xadd("house:inbox:child", { id: "1" }, id: "#{now_ms - 5_000}-0")
    expect(found(:stuck_handlers, :overrun, :waiting))
      .to match([have_attributes(level: :error, text: %r{9 of 9 handlers busy; 3 of them at app/.+, the oldest for})])
  end

  it "name processes that have fallen silent, together if they did so together" do
    serving("child", "a")
    serving("child", "b", host: "web-8", busy: 3)
    show("house", "parent", "p", lease: nil, host: "web-9")
    redis.zadd("house:instances", now_ms - 14_100, "child:b:web-8:15752")
    redis.zadd("house:instances", now_ms - 14_900, "parent:p:web-9:15752")
    redis.zadd("jobs:servers", now_ms - 9_000, "s")
    write_record("jobs", "", "s", kind: "json_rpc", written: now_ms - 9_000, settings: { lease: 2_000 })
    finding, *others = found(:silent, :died)
    expect(others).to eq([])
    expect(finding).to have_attributes(
      level: :warning, subject: "house/child", advice: /\Ait is cut off from Redis, frozen or dead/,
      text: "child pid 15752 on web-8 has given no sign of life for 14 s"
    )
    expect(@admin.group("house", "child")).to have_attributes(instances: 2, serving: 1, handlers: 3, busy: 0)
    expect(@admin.instances("house").to_h { |one| [one.id, one.silent] })
      .to match("a" => nil, "b" => be_between(14, 20), "p" => nil)
    redis.zadd("house:instances", [[now_ms - 31_000, "child:b:web-8:15752"], [now_ms - 30_100, "parent:p:web-9:15752"]])
    expect(@admin.findings.map { |one| [one.subject, one.text] })
      .to eq([["house/parent, house/child", "2 processes fell silent together, 30 s ago: parent pid 15752 on web-9, " \
                                            "child pid 15752 on web-8; the same host or network?"]])
    expect(admin(queues: ["jobs"]).queue("jobs").servers).to match([have_attributes(silent: be_between(9, 15))])
  end

  it "name what happened in the last ten minutes" do
    incidents = [{ at: now_ms - 700_000, kind: "take_over", text: "long ago" },
                 { at: now_ms - 60_000, kind: "refused", text: "XACK house:inbox:child refused for user answerer" },
                 { at: now_ms - 30_000, kind: "refused", text: "XADD refused" },
                 { at: now_ms - 9_000, kind: "take_over",
                   text: "1-0 (delivery 2): the instance that held it died or hung" },
                 { at: now_ms, kind: "unheard_of", text: "?" }]
    serving("child", "a", incidents: incidents, series: { every: 10_000, asked: [], answered: [20, 20], failed: [5, 9],
                                                          run_ms: [] })
    write_record("house", "child", "dead", written: now_ms - 120_000)
    findings = admin.findings
    expect(findings.map(&:kind)).to eq(%i[refused failing died take_over])
    expect(findings.map(&:text)).to match([/XADD refused \(web-7 pid 15752, 3\d\.\d s ago; 2 in ten minutes\)/,
                                           "14 of 40 requests that it answered failed in ten minutes",
                                           "web-7 pid 15752 has been silent for 2 min and has not left",
                                           /\Arequest 1-0 \(delivery 2\) was taken over by web-7 pid 15752 from/])
  end

  it "name once what a full Redis refuses to several, and by its rule what a user may not" do
    full = { at: now_ms - 9_000, kind: "refused", text: "the record of this instance was not written: Redis refused " \
                                                        'the command: "OOM": command not allowed' }
    right = "Redis refused the command: NoPerm: No permissions (the user needs (~house:replies:web:%s +xadd))"
    incidents = [full, { at: now_ms - 9_000, kind: "answer_lost", text: format(right, "0" * 32) }]
    serving("child", "a", incidents: incidents, series: { every: 10_000, asked: [], answered: [], failed: [183],
                                                          run_ms: [] })
    serving("kitchen", "k", incidents: [full, { **incidents[1], text: format(right, "1" * 32) }])
    show("house", "web", "w", lease: nil)
    write_record("house", "web", "w", incidents: [full], outcomes: { child: { fulfilled: 7, unknown: 62 }, "*": {} },
                                      series: { every: 10_000, asked: [187], answered: [0], failed: [62], run_ms: [] })
    findings = found(:refused, :answer_lost, :failing)
    expect(findings.map { |one| [one.kind, one.subject] })
      .to eq([[:refused, "house/child, house/kitchen, house/web"], [:failing, "house/child"], [:failing, "house/web"],
              [:answer_lost, "house/child, house/kitchen"]])
    expect(findings.map(&:advice)).to match([/\ARedis is or was full/, /logs/, /groups -s house/,
                                             /\Agrant .* acl print answerer --stream/])
    expect(findings[1].text).to eq("183 failures, and 0 requests that it answered, in ten minutes")
    expect(findings[2].text).to start_with("62 of 187 of its calls (since it connected most that failed were to " \
                                           "child: 62 unknown) failed in")
    expect(findings.last.text).to include("(~house:replies:web:* +xadd)")
    expect(findings.first.text).to end_with("; 3 in ten minutes on 3 instances)")
  end

  it "name consumers of events that lag, are missing, have lost events or lanes" do
    redis.xgroup(:create, "orders", "billing", "0", mkstream: true)
    redis.xadd("orders", { data: "1" }, id: "1700000000000-0")
    expect(found(:nobody_serves, consumers: ["orders"]).map { |one| [one.subject, one.text] })
      .to eq([["orders/billing", "1 event waits, and no process is alive"]])
    redis.xgroup(:createconsumer, "orders", "billing", "a")
    losses = [{ at: now_ms - 3_600_000, cause: "trimmed", at_least: 3, at_most: 9 }, { cause: 7 }]
    write_record("orders", "billing", "a", kind: "events", handlers: 5, busy: 5, written: now_ms - 20_000,
                                           histograms: { run: Records.histogram(0.2, 0.2) },
                                           settings: { lease: 69_000 },
                                           events: { source: "stream", handled: 7, failed: 1, losses: losses })
    redis.hset("orders:events:billing",
               { "lanes" => "2", "o:0" => "a 1 #{now_ms + 60_000}", "i:a" => "#{now_ms + 60_000} 1" })
    group, = admin(consumers: ["orders"]).event_groups("orders")
    expect(group).to have_attributes(lag: 1, lanes: 2, lanes_owned: 1, owners: { 0 => "a" }, handled: 7, failures: 1,
                                     source: "stream", instances: [have_attributes(id: "a", alive?: true, silent: nil)])
    expect(group.instances.first.seen.to_f * 1_000).to be_within(3_000).of(now_ms - 9_000)
    findings = found(:losses, :lag, :free_lanes, consumers: ["orders"])
    expect(findings.map { |one| [one.level, one.text] })
      .to match([[:error, "events may be missing: trimmed, 3 to 9 the last time, 60 min ago"],
                 [:warning, /1 event waits, the oldest for \d+\.\d h; 5 of 5 handlers are busy, 200 ms each/],
                 [:warning, "1 of 2 lanes have no owner"]])
  end

  it "name a Redis that evicts, is full, or sends no notifications" do
    server = start_server(maxmemory: "100mb", maxmemory_policy: "volatile-lru")
    client = server.client
    client.zadd("redis_ipc:events:stats", Time.now.to_i * 2_000, "sessions:i")
    client.set("redis_ipc:events:stats:sessions:i", JSON.generate(kind: "events", written: Time.now.to_i * 1_000,
                                                                  events: { source: "keys" }))
    client.config(:set, "maxmemory", client.info["used_memory"].to_i * 100 / 97)
    admin(streams: [], redis_options: { path: server.path })
    findings = @admin.findings
    expect(findings.map(&:kind)).to match_array(%i[eviction memory notifications])
    expect(findings.find { |one| one.kind == :memory })
      .to have_attributes(text: / % of maxmemory are used: .* [Mk]B of .* [Mk]B; the policy is volatile-lru\z/,
                          advice: /Redis deletes keys\z/)
    client.config(:set, "notify-keyspace-events", "KA")
    expect(@admin.findings.map(&:kind)).to match_array(%i[eviction memory])
    expect(@admin.event_groups).to match([have_attributes(name: "sessions", source: "keys",
                                                          stream: "redis_ipc:events")])
  end

  it "name the rights that users lack, and keys that nobody owns" do
    rules = RedisIPC::ACL.rules(:answerer, stream: "house", group: "child").map { |rule| rule.sub(" +xack", "") }
    redis.call("ACL", "SETUSER", "limited", "on", ">secret", "+client|setname", *rules)
    client = RedisServer.client(path: RedisServer.shared.path, username: "limited", password: "secret")
    client.call("CLIENT", "SETNAME", "redis_ipc:house:child:reader")
    redis.xadd("house:replies:gone:abc", { id: "1" })
    serving("child", "a")
    findings = found(:missing_right, :keys_without_owner)
    expect(findings.map { |one| [one.level, one.subject, one.text] })
      .to include([:error, "house/child", "the user limited may not XACK house:inbox:child"],
                  [:info, "house", "nobody owns 1 key, such as house:replies:gone:abc"])
    expect(findings.map(&:text).join).not_to match(/XREADGROUP|XDEL|default/)
    expect(findings.map(&:advice)).to include(/\(~house:inbox:child \+xack\); all rules: .* acl print answerer --/)
  ensure
    client&.close
    redis.call("ACL", "DELUSER", "limited")
  end

  it "name slots of PostgreSQL that keep its log, and a PostgreSQL that cannot be reached" do
    hosting = RedisIPC::Events::Hosting
    slot = Struct.new(:slot, :status, :pid, :retained)
    rows = [slot.new("a", "lost", nil, 7), slot.new("b", "extended", nil, 3 << 30),
            slot.new("c", "reserved", 7, 2 << 30), slot.new("d", "reserved", nil, 1 << 20)]
    allow(hosting).to receive(:slots_at).with("postgres://db/house").and_return(rows)
    expect(found(:slot, postgres: "postgres://db/house").map { |one| [one.level, one.subject, one.text] })
      .to match([[:error, "a", /is lost: changes are missing/], [:error, "b", /keeps 3\.2 GB .*, which nobody reads/],
                 [:warning, "c", /keeps 2\.1 GB .*, which is read slowly/]])
    allow(hosting).to receive(:slots_at).and_call_original
    port = RedisServer.free_port
    expect(found(:postgres, postgres: [{ host: "127.0.0.1", port: port, user: "ann", dbname: "house" }]))
      .to match([have_attributes(level: :error, text: /127\.0\.0\.1:#{port}/)])
  end
end

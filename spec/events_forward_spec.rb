# frozen_string_literal: true

# Changes of PostgreSQL's log that are written into streams of Redis, by real servers on both sides.
RSpec.describe "changes that are forwarded into a stream" do
  include WalDatabases

  let(:got) { Queue.new }
  let(:losses) { Queue.new }
  let(:redis) { RedisServer.shared.client }

  before { pg.exec("CREATE TABLE accounts (id int PRIMARY KEY, name text, paid bool DEFAULT false)") }

  # Forwards into "orders".
  def forward(tables: "accounts", url: wal_url, redis_options: self.redis_options, **rules)
    consume_from(wal: url, tables: tables, slot: "ipc", create: true, on_loss: losses.method(:<<),
                 forward: { to: "orders", **rules }, redis_options: redis_options,
                 retry_on: { StandardError => { wait: 0 } })
  end

  # Handles the stream by a consumer that knows nothing of PostgreSQL, in the order of its entries.
  def receive(**words)
    kept = got
    consume(concurrency: { threads: 1 }, **words) { |event| kept << event }
  end

  def insert(*ids)
    pg.exec("INSERT INTO accounts SELECT unnest('{#{ids.join(",")}}'::int[])")
  end

  # The ids of the rows that the stream has, in its order.
  def rows(stream = "orders")
    redis.xrange(stream).map { |_, fields| JSON.parse(fields["data"])["id"] }
  end

  def checkpoint(stream = "orders")
    redis.hgetall("{#{stream}}:events:ipc:forwarded")
  end

  describe "as events" do
    it "have their type, key, data, operation, old state and transaction" do
      pg.exec("ALTER TABLE accounts REPLICA IDENTITY FULL")
      forward(key: "id")
      receive
      pg.exec("BEGIN; INSERT INTO accounts VALUES (7, 'Ä\"\n'); UPDATE accounts SET paid = true; COMMIT")
      pg.exec("DELETE FROM accounts")
      inserted, updated, deleted = next_ones(3)
      expect(inserted).to have_attributes(
        source: "orders", kind: :stream, operation: :insert, type: "accounts.insert", key: "7", old: nil,
        data: { "id" => 7, "name" => "Ä\"\n", "paid" => false }, position: match(/\A\d+-\d+\z/)
      )
      expect(inserted.transaction).to have_attributes(index: 0, last?: false,
                                                      committed_at: be_within(10).of(Time.now))
      expect(updated).to have_attributes(operation: :update, type: "accounts.update",
                                         changes: { "paid" => [false, true] })
      expect(updated.transaction).to have_attributes(index: 1, last?: true, id: inserted.transaction.id)
      expect(updated.metadata).to include(schema: "public", table: "accounts", xid: updated.transaction.id,
                                          lsn: match(%r{\A\h+/\h+\z}))
      expect(deleted).to have_attributes(operation: :delete, key: "7", data: nil,
                                         old: { "id" => 7, "name" => "Ä\"\n", "paid" => true })
    end

    it "have the values that events of the log have, as JSON" do
      pg.exec("CREATE TABLE things (id bigint PRIMARY KEY, real float8, exact numeric, bytes bytea, day date, " \
              "at timestamptz, json jsonb, list text[], span int4range, uuid uuid, deep int[])")
      kept = []
      consume_from(wal: wal_url, tables: "things", slot: "plain", create: true) { |event| kept << event.to_h["data"] }
      forward(tables: "things")
      pg.exec("INSERT INTO things VALUES (1, 1e20, 1.50, '\\xff00', '2026-01-31', '2026-01-31 12:00:00.5+02', " \
              "'{\"a\": [1, null]}', '{a,NULL,\"b,\\\"\"}', '[1,5)', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', " \
              "'{{1,2}}')")
      pg.exec("INSERT INTO things VALUES (2, 'NaN', 'NaN', NULL, 'infinity', '-infinity', 'null', '{}', 'empty')")
      eventually { kept.size == 2 && redis.xlen("orders") == 2 }
      found = redis.xrange("orders").map { |_, fields| JSON.parse(fields["data"]) }
      # JSON has no bytes: they are as PostgreSQL writes them.
      kept.first["bytes"] = "\\xff00"
      expect(found).to eq(kept)
    end

    it "tell truncations and logical messages" do
      forward
      receive
      pg.exec("TRUNCATE accounts RESTART IDENTITY")
      pg.exec("SELECT pg_logical_emit_message(true, 'mail', 'ü')")
      pg.exec("SELECT pg_logical_emit_message(false, 'mail', '\\xff'::bytea)")
      truncated, message, outside = next_ones(3)
      expect(truncated).to have_attributes(operation: :truncate, type: "accounts.truncate", key: nil, data: nil)
      expect(truncated.metadata).to include(restart_identity: true)
      expect(message).to have_attributes(operation: :message, type: "mail", data: "ü", transaction: be_truthy)
      expect(outside).to have_attributes(data: "\\xff", transaction: nil)
    end

    it "are all there where a transaction is committed right after a message that does not belong to it" do
      forward
      pg.exec("BEGIN; INSERT INTO accounts VALUES (1), (2); SELECT pg_logical_emit_message(false, 'mail', 'x'); COMMIT")
      eventually { redis.xlen("orders") == 3 }
      expect(redis.xrange("orders").map { |_, fields| fields["type"] }).to eq(%w[mail accounts.insert accounts.insert])
      places = redis.xrange("orders").map { |_, fields| JSON.parse(fields["change"]).values_at("commit_lsn", "lsn") }
      # The commit begins where the message ends.
      expect(places.last.first).to eq(places.first.last)
    end

    it "leave out a value that is stored apart and did not change" do
      pg.exec("ALTER TABLE accounts ALTER name SET STORAGE EXTERNAL")
      forward
      receive
      pg.exec("INSERT INTO accounts VALUES (1, '#{"x" * 10_000}')")
      pg.exec("UPDATE accounts SET paid = true")
      _, updated = next_ones(2)
      expect(updated).to have_attributes(data: { "id" => 1, "paid" => true })
      expect(updated.metadata).to include(unchanged: ["name"])
    end

    it "come after the rows that are there, which are marked" do
      insert(1, 2)
      consume_from(wal: wal_url, tables: "accounts", slot: "ipc", create: true, snapshot: true,
                   forward: { to: "orders" }, redis_options: redis_options)
      receive
      rows = next_ones(2)
      insert(3)
      expect((rows << next_of(got)).map { |event| [event.operation, event.key, event.metadata[:snapshot]] })
        .to contain_exactly([:insert, "1", true], [:insert, "2", true], [:insert, "3", nil])
      expect(checkpoint).to include("index" => "0")
    end

    it "take their keys and types from columns, and are in the partitions of their keys" do
      forward(key: %w[name], type: :name, partitions: 4)
      receive(order: [:key, { partitions: 4 }])
      names = %w[a b c d e f g h]
      pg.exec("INSERT INTO accounts SELECT n, chr(96 + n) FROM generate_series(1, 8) n")
      found = next_ones(8)
      expect(found.map { |event| [event.key, event.type] }).to match_array(names.zip(names))
      streams = found.to_h { |event| [event.key, event.source] }
      expect(streams).to eq(names.to_h { |name| [name, "orders:#{RedisIPC::Events.partition(name, 4)}"] })
    end

    it "take their keys and types from callables, which are tried until they do not raise" do
      calls = Queue.new
      key = lambda do |event|
        calls << event["id"]
        raise "no" if event["id"] == 3 && calls.size < 6

        event["name"]
      end
      forward(key: key, type: ->(event) { "account.#{event.operation}" })
      receive
      pg.exec("INSERT INTO accounts VALUES (1, 'a'), (2, NULL), (3, 'c'), (4, 'd')")
      found = next_ones(4)
      expect(found.map { |event| [event["id"], event.key, event.type] })
        .to eq([[1, "a"], [2, nil], [3, "c"], [4, "d"]].map { |pair| [*pair, "account.insert"] })
      expect(rows).to eq([1, 2, 3, 4])
    end

    it "keep as many entries as they are told" do
      subscription = forward(maxlen: 100)
      20.times { |round| insert(*((round * 100)...((round + 1) * 100))) }
      eventually { subscription.stats[:forwarded] == 2000 }
      expect(redis.xlen("orders")).to be_between(100, 500)
      expect(subscription.stats).to include(trimmed: be_positive, repeated: 0)
    end
  end

  describe "by a class" do
    it "are written as it says, and it handles nothing else" do
      url = wal_url
      feed = Class.new(RedisIPC::Events::Consumer) do
        wal url, tables: "accounts", slot: "ipc", create: true
        forward to: :orders, key: :name
        options redis_options: { path: RedisServer.shared.path }, logger: Consumers.silent
      end
      start(feed)
      pg.exec("INSERT INTO accounts VALUES (1, 'a')")
      eventually { rows == [1] }
      expect(redis.xrange("orders").first.last).to include("key" => "a")
      expect(feed.stats).to include(forwarded: 1, done: 1)
      feed.define_method(:call) { |event| event }
      feed.stop
      expect { feed.start }.to raise_error(RedisIPC::ConfigurationError, /cannot have a handler of its own/)
    end

    it "are written by redis_ipc work, which says where to" do
      Dir.mktmpdir do |folder|
        file = File.join(folder, "feed.rb")
        File.write(file, <<~RUBY)
          RedisIPC.configure { |config| config.redis_options = { url: ENV.fetch("REDIS_URL") } }
          class Feed < RedisIPC::Events::Consumer
            wal "#{wal_url}", tables: "accounts", slot: "ipc", create: true
            forward to: "orders"
          end
        RUBY
        process = run_process(RbConfig.ruby, "-I#{Processes::LIBRARY}", File.expand_path("../exe/redis_ipc", __dir__),
                              "work", file)
        expect(process.line).to match(%r{\Aredis_ipc consumes #{database_name}/ipc \(.*, into the stream orders\)\z})
        insert(1)
        eventually { rows == [1] }
        process.kill(:TERM)
        expect(process.wait.exitstatus).to eq(0)
      end
    end

    it "are refused where they make no sense" do
      refused = {
        { wal: wal_url, slot: "ipc", forward: {} } => /needs a stream: forward to/,
        { wal: wal_url, slot: "ipc", forward: { to: "a", lanes: 3 } } => /unknown option :lanes of forward/,
        { wal: wal_url, slot: "ipc", forward: { to: "a", partitions: 0 } } => /partitions must be/,
        { wal: wal_url, slot: "ipc", forward: { to: "a", type: 7 } } => /type: of forward .* must be a String/,
        { wal: wal_url, slot: "ipc", forward: { to: "a", maxlen: 1, keep: 1 } } => /maxlen or keep, not both/,
        { wal: wal_url, slot: "ipc", forward: 7 } => /must be a Hash/,
        { stream: "a", group: "b", forward: { to: "c" } } => /needs PostgreSQL's log/,
        { wal: wal_url, slot: "ipc", batch: { size: 3 }, forward: { to: "a" } } => /cannot have batch/
      }
      refused.each do |words, message|
        expect { RedisIPC::Events.consume(**words) }.to raise_error(RedisIPC::ConfigurationError, message)
      end
      expect { RedisIPC::Events.consume(wal: wal_url, slot: "ipc", forward: { to: "a" }) { nil } }
        .to raise_error(ArgumentError, /needs a block, or a processor: .*, or forward:/)
    end
  end

  describe "once" do
    # A process that forwards, and prints a line for the first of them.
    def forwarder(**rules)
      rules = { to: "orders", key: "id", **rules }
      ruby(<<~RUBY)
        RedisIPC::Events.consume(wal: "#{wal_url}", tables: "accounts", slot: "ipc", create: true,
                                 forward: #{rules.inspect}, redis_options: { path: "#{RedisServer.shared.path}" })
        puts "ready"
        sleep
      RUBY
    end

    # Writes transactions of one row and of a hundred, by turns, while the block runs.
    def writing(count)
      writer = Thread.new do
        connection = connect_to(database_name)
        (0...count).step(200) do |first|
          connection.exec("INSERT INTO accounts SELECT g, g % 10 FROM generate_series(#{first}, #{first + 99}) g")
          (first + 100...first + 200).each { |id| connection.exec("INSERT INTO accounts VALUES (#{id}, #{id % 10})") }
        end
        connection.close
      end
      yield writer
      writer.join
    end

    # Kills a process again and again while the writer writes, and starts another one in its place.
    # @yieldreturn [Integer] how much was forwarded
    def kill_while(writer, **rules)
      kills = 0
      while writer.alive?
        process = forwarder(**rules)
        process.line
        before = yield
        eventually { yield > before || !writer.alive? }
        sleep(rand(0.05))
        process.stop
        kills += 1
      end
      forwarder(**rules)
      expect(kills).to be_positive
    end

    it "are in the stream in their order, whenever the process is killed" do
      forwarder.tap(&:line).stop
      writing(20_000) { |writer| kill_while(writer) { redis.xlen("orders") } }
      eventually(timeout: 30) { redis.xlen("orders") >= 20_000 }
      expect(rows).to eq([*0...20_000])
      expect(checkpoint).to include("count" => "20000")
    end

    it "are in the partitions in the order of their keys, whenever the process is killed" do
      rules = { partitions: 3, key: "name" }
      forwarder(**rules).tap(&:line).stop
      streams = Array.new(3) { |number| "orders:#{number}" }
      length = -> { streams.sum { |stream| redis.xlen(stream) } }
      writing(20_000) { |writer| kill_while(writer, **rules, &length) }
      eventually(timeout: 30) { length.call >= 20_000 }
      found = streams.map { |stream| rows(stream) }
      expect(found.flatten.sort).to eq([*0...20_000])
      expect(found).to eq(found.map(&:sort))
    end

    it "go on, and that is told, where the stream is ahead of PostgreSQL" do
      forward
      insert(1)
      eventually { rows == [1] }
      stop_consumers
      # As if the server had been restored from a copy.
      redis.hset("{orders}:events:ipc:forwarded", "lsn", "FFFFFF/0")
      insert(2)
      subscription = forward
      expect(next_of(losses)).to have_attributes(cause: :rolled_back, source: "#{database_name}/ipc", at_most: nil)
      insert(3)
      eventually { rows.last == 3 }
      expect(subscription.stats).to include(losses: 1)
    end

    it "go on after PostgreSQL has begun another time line, without what both have" do
      own = Databases::Cluster.new(WalDatabases::SETTINGS)
      own.query("CREATE TABLE accounts (id int PRIMARY KEY)")
      url = "postgres://spec@/postgres?host=#{own.folder}"
      subscription = forward(url: url)
      own.query("INSERT INTO accounts VALUES (1), (2)")
      eventually { rows == [1, 2] }
      own.stop_serving
      own.write("standby.signal", "")
      own.start
      own.query("SELECT pg_promote()")
      own.query("INSERT INTO accounts VALUES (3)")
      eventually { rows == [1, 2, 3] }
      expect(checkpoint["log"]).to end_with(" 2")
      expect([losses.size, subscription.stats[:forwarded]]).to eq([0, 3])
    ensure
      stop_consumers
      own&.stop
    end

    it "wait for a Redis that is away, and lose nothing" do
      server = start_server(appendonly: "yes", appendfsync: "always")
      forward(redis_options: { path: server.path, connect_timeout: 1 })
      insert(*1..50)
      client = server.client
      eventually { client.xlen("orders") == 50 }
      server.kill
      insert(*51..100)
      expect(next_of(errors)).to be_a(RedisIPC::ConnectionError)
      server.start
      eventually { server.client.xlen("orders") == 100 }
      expect(server.client.xrange("orders").map { |_, fields| fields["key"].to_i }).to eq([*1..100])
    end
  end

  describe "where Redis has lost them" do
    it "tell how many the stream is missing" do
      forward
      insert(1)
      eventually { rows == [1] }
      before = checkpoint
      insert(2)
      insert(3)
      eventually { rows == [1, 2, 3] }
      # Redis comes back with what it had a while ago.
      redis.multi do |all|
        all.del("orders")
        all.hset("{orders}:events:ipc:forwarded", before)
      end
      insert(4)
      expect(next_of(losses)).to have_attributes(cause: :rolled_back, source: "orders", at_most: 2, exact?: true)
      eventually { rows == [4] }
    end

    it "tell that all of them are gone" do
      forward
      insert(1)
      eventually { rows == [1] }
      redis.flushall
      insert(2)
      expect(next_of(losses)).to have_attributes(cause: :flushed, source: "orders", at_most: nil)
      eventually { rows == [2] }
      expect(checkpoint).to include("count" => "1")
    end

    it "are not written beside the checkpoint of another PostgreSQL, or of a later time line" do
      forward
      own = pg.exec("SELECT system_identifier FROM pg_control_system()").getvalue(0, 0)
      refusals = { "1 1" => "is one of another PostgreSQL (system 1)", "#{own} 9" => "is one of the time line 9" }
      refusals.each do |log, why|
        stop_consumers
        redis.hset("{orders}:events:ipc:forwarded", { log: log, lsn: "0/1", index: 0, count: 5 })
        forward
        insert(log.to_i % 1000)
        expect(next_of(errors)).to have_attributes(class: RedisIPC::ConfigurationError, message: include(why))
      end
      expect(redis.xlen("orders")).to eq(0)
      redis.del("{orders}:events:ipc:forwarded")
      eventually { rows.size == 2 }
    end
  end

  it "are written by a user who has the rules for that, and no others" do
    server = start_server
    rules = RedisIPC::ACL.rules(:event_forwarder, stream: "orders", slot: "ipc", partitions: 3)
    server.client.call("ACL", "SETUSER", "forwarder", "on", ">secret", *rules)
    subscription = forward(redis_options: { path: server.path, username: "forwarder", password: "secret" },
                           partitions: 3, keep: 60)
    insert(*1..200)
    eventually { subscription.stats[:forwarded] == 200 }
    expect(errors.size).to eq(0)
    expect(server.client.call("ACL", "DRYRUN", "forwarder", "XADD", "others", "*", "a",
                              "b")).to include("no permissions")
  end

  it "are in partitions on all nodes of a cluster, whose nodes are failed over" do
    cluster = RedisCluster.new
    subscription = forward(redis_options: { **cluster.options, connect_timeout: 1 }, partitions: 12)
    streams = Array.new(12) { |number| "orders:#{number}" }
    insert(*1..2_000)
    eventually { subscription.stats[:forwarded] == 2_000 }
    expect(streams.map { |stream| cluster.master_of(stream) }.uniq.size).to eq(3)
    lost = cluster.master_of("orders:0")
    # What it has acknowledged is at its replica, too.
    lost.client.call("WAIT", 1, 1_000)
    cluster.without(lost)
    lost.kill
    insert(*2_001..4_000)
    expect(next_of(errors)).to be_a(RedisIPC::Error)
    eventually(timeout: 20) { subscription.stats[:done] == 4_000 }
    found = streams.flat_map do |stream|
      cluster.master_of(stream).client.xrange(stream).map { |_, fields| fields["key"].to_i }.tap do |keys|
        expect(keys).to eq(keys.sort)
      end
    end
    expect([found.sort, losses.size]).to eq([[*1..4_000], 0])
  ensure
    stop_consumers
    cluster&.stop
  end

  it "wait while they are paused" do
    subscription = forward
    subscription.pause
    insert(1)
    eventually { subscription.stats[:held] == 1 }
    expect(rows).to eq([])
    subscription.resume
    eventually { rows == [1] }
  end
end

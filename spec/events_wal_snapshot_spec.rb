# frozen_string_literal: true

# The rows that tables have, before their changes.
RSpec.describe "a snapshot before PostgreSQL's log" do
  include WalDatabases

  let(:got) { Queue.new }
  let(:losses) { Queue.new }

  before do
    pg.exec("SET client_min_messages = error; CREATE TABLE accounts (id int PRIMARY KEY, name text, version int)")
  end

  def watch(tables: "accounts", **words, &block)
    words = { create: true, snapshot: true, on_loss: losses.method(:<<), **words }
    consume_from(wal: wal_url, tables: tables, slot: "ipc", **words, &block)
  end

  def keep_events(**words)
    kept = got
    watch(**words) { |event| kept << event }
  end

  def insert(range, table: "accounts")
    pg.exec("INSERT INTO #{table} (id) SELECT generate_series(#{range.min}, #{range.max})")
  end

  # What an event is: the table, the row, and whether it was there before.
  def told(event)
    [event.metadata[:table], event["id"], event.metadata[:snapshot]]
  end

  def caught_up
    end_of_log = log_end
    eventually { confirmed?(end_of_log) }
  end

  def recorded
    pg.exec("SELECT name FROM redis_ipc_snapshots WHERE slot = 'ipc' AND handled_at IS NOT NULL ORDER BY 1")
      .column_values(0)
  end

  it "brings the rows that are there as insertions that are marked, and then what changes" do
    pg.exec("INSERT INTO accounts VALUES (1, 'Ä', 5), (2, NULL, 6)")
    subscription = keep_events
    first, second = next_ones(2)
    insert(3..3)
    third = next_of(got)
    expect(first).to have_attributes(
      operation: :insert, type: "accounts.insert", key: "1", data: { "id" => 1, "name" => "Ä", "version" => 5 },
      old: nil, transaction: nil, position: match(%r{\A\h+/\h+\z}), occurred_at: be_within(10).of(Time.now)
    )
    expect(first.metadata).to eq(schema: "public", table: "accounts", identity: { "id" => 1 }, snapshot: true,
                                 lsn: first.position)
    expect([second.data, second.position]).to eq([{ "id" => 2, "name" => nil, "version" => 6 }, first.position])
    expect([told(third), third.metadata.key?(:snapshot)]).to eq([["accounts", 3, nil], false])
    expect(third.metadata.keys - first.metadata.keys).to eq([:xid])
    caught_up
    expect([recorded, subscription.stats[:snapshot_tables]]).to eq([['"public"."accounts"'], 0])
  end

  # Changes rows one version after the other, as fast as it can.
  def keep_writing(rows, until_empty)
    writer = connect_to(database_name)
    Thread.new do
      random = Random.new(1)
      until until_empty.empty?
        writer.exec("UPDATE accounts SET version = version + 1 WHERE id = #{random.rand(1..rows)}")
        # Transactions that begin before others and end after them.
        writer.exec("BEGIN; UPDATE accounts SET version = version + 1 WHERE id = #{random.rand(1..rows)}; " \
                    "SAVEPOINT s; UPDATE accounts SET version = version + 1 WHERE id = #{random.rand(1..rows)}; COMMIT")
      end
    ensure
      writer.close
    end
  end

  # The versions of each row as they were told, up to those that the table has. What the rows had already is marked.
  def versions_told(rows, event)
    goal = pg.exec("SELECT id, version FROM accounts").to_h { |row| [row["id"].to_i, row["version"].to_i] }
    told = Hash.new { |all, id| all[id] = [] }
    loop do
      told[event["id"]] << event["version"] unless event.metadata[:in_snapshot]
      break if rows.all? { |id| told[id].last == goal[id] }

      event = next_of(got)
    end
    told
  end

  [[:source, "that it makes"], [:source, "that was there"], [:key, "that was there"]].each do |order, slot|
    it "has neither a gap nor an overlap with the log of a slot #{slot}, while rows change, in order by #{order}" do
      rows = [*1..50]
      pg.exec("INSERT INTO accounts SELECT id, repeat('x', 100), 0 FROM generate_series(1, 50) id")
      if slot == "that was there"
        pg.exec("CREATE PUBLICATION ipc FOR TABLE accounts")
        make_slot("ipc")
      end
      writing = Queue.new << true
      writers = Array.new(2) { keep_writing(50, writing) }
      eventually { pg.exec("SELECT sum(version) FROM accounts").getvalue(0, 0).to_i > 200 }
      keep_events(order: order)
      first = next_of(got)
      expect(first.metadata).to include(snapshot: true)
      eventually { got.size > 500 }
      writing.clear
      writers.each(&:join)
      versions_told(rows, first).each_value do |versions|
        expect(versions).to eq([*versions.first..versions.last])
      end
    end
  end

  it "goes on with the tables that were not done, after a process that was killed" do
    pg.exec("CREATE TABLE bills (id int PRIMARY KEY)")
    insert(1..300)
    insert(1..300, table: "bills")
    script = <<~RUBY
      RedisIPC::Events.consume(wal: "#{wal_url}", tables: %w[accounts bills], slot: "ipc", create: true,
                               snapshot: true) do |event|
        puts "\#{event.metadata[:table]} \#{event["id"]}"
        sleep if event.type == "bills.insert" && event["id"] == 200
      end
      sleep
    RUBY
    process = ruby(script)
    expect(Array.new(500) { process.line }).to eq([*1..300].map { |id| "accounts #{id}" } +
                                                  [*1..200].map { |id| "bills #{id}" })
    eventually { recorded == ['"public"."accounts"'] }
    process.kill
    pg.exec("DELETE FROM bills WHERE id = 8; UPDATE accounts SET version = 1 WHERE id = 7")
    keep_events(tables: %w[accounts bills])
    expect(next_ones(299).map { |event| told(event) }).to eq(([*1..300] - [8]).map { |id| ["bills", id, true] })
    # What was handled in the first process is deleted, though its row did not come again.
    expect(next_ones(2).map { |event| [event.type, event.key, event.metadata[:in_snapshot]] })
      .to eq([["bills.delete", "8", true], ["accounts.update", "7", nil]])
    caught_up
    expect(recorded).to eq(['"public"."accounts"', '"public"."bills"'])
    expect(got.size).to eq(0)
  end

  it "is taken once, and of a table that is named later when that is named" do
    pg.exec("CREATE TABLE bills (id int PRIMARY KEY)")
    insert(1..3)
    insert(1..2, table: "bills")
    subscription = keep_events
    next_ones(3)
    caught_up
    subscription.stop
    pg.exec("ALTER PUBLICATION ipc ADD TABLE bills")
    subscription = keep_events(tables: %w[accounts bills])
    expect(next_ones(2).map { |event| told(event) }).to eq([["bills", 1, true], ["bills", 2, true]])
    caught_up
    subscription.stop
    keep_events(tables: %w[accounts bills])
    insert(4..4)
    expect([told(next_of(got)), got.size]).to eq([["accounts", 4, nil], 0])
  end

  it "brings the columns and the rows that are published, and no generated columns" do
    skip "this server publishes whole tables" if pg.server_version < 150_000

    pg.exec("ALTER TABLE accounts ADD twice int GENERATED ALWAYS AS (version * 2) STORED, ADD \"odd \"\"name\" int")
    pg.exec("CREATE PUBLICATION ipc FOR TABLE accounts (id, version, \"odd \"\"name\") WHERE (id > 1)")
    pg.exec("INSERT INTO accounts VALUES (1, 'a', 1), (2, 'b', 2)")
    keep_events
    pg.exec("INSERT INTO accounts VALUES (3, 'c', 3)")
    expect(next_ones(2).map(&:data)).to eq([{ "id" => 2, "version" => 2, "odd \"name" => nil },
                                            { "id" => 3, "version" => 3, "odd \"name" => nil }])
  end

  [false, true].each do |by_root|
    it "brings partitions as the log #{by_root ? "does that calls them by their table" : "does"}, and each once" do
      pg.exec("CREATE TABLE log (id int PRIMARY KEY) PARTITION BY RANGE (id)")
      [0, 10].each { |from| make_partition(from) }
      pg.exec("CREATE PUBLICATION ipc FOR TABLE log WITH (publish_via_partition_root = #{by_root})")
      pg.exec("INSERT INTO log VALUES (5), (15)")
      names = by_root ? %w[log log log] : %w[log_0 log_10 log_20]
      subscription = keep_events(tables: "log")
      found = next_ones(2)
      make_partition(20)
      pg.exec("INSERT INTO log VALUES (25)")
      found << next_of(got)
      expect(found.map { |event| told(event) }).to eq(names.zip([5, 15, 25], [true, true, nil]))
      expect(found.map(&:key)).to eq(%w[5 15 25])
      caught_up
      subscription.stop
      keep_events(tables: "log")
      pg.exec("INSERT INTO log VALUES (26)")
      expect([told(next_of(got)), got.size]).to eq([[names.last, 26, nil], 0])
    end
  end

  def make_partition(from)
    pg.exec("CREATE TABLE log_#{from} PARTITION OF log FOR VALUES FROM (#{from}) TO (#{from + 10})")
  end

  it "has the keys that the log has, by any replica identity" do
    pg.exec("CREATE TABLE pairs (a int NOT NULL, b text NOT NULL, c int); CREATE UNIQUE INDEX pairs_ab ON pairs (a, b)")
    pg.exec("ALTER TABLE pairs REPLICA IDENTITY USING INDEX pairs_ab; CREATE TABLE whole (id int); ALTER TABLE whole " \
            "REPLICA IDENTITY FULL; INSERT INTO pairs VALUES (1, 'x', 2); INSERT INTO whole VALUES (1)")
    keep_events(tables: %w[pairs whole])
    before = next_ones(2)
    pg.exec("INSERT INTO pairs VALUES (1, 'y', 2); INSERT INTO whole VALUES (2)")
    expect(before.map(&:key)).to eq(['["1","x"]', nil])
    expect(next_ones(2).map(&:key)).to eq(['["1","y"]', nil])
  end

  it "waits for handlers, and holds no more than they have room for" do
    insert(1..20_000)
    held = Queue.new
    kept = got
    subscription = watch(prefetch: 50) do |event|
      held.pop if event["id"] == 1
      kept << event["id"]
    end
    pid = eventually { slot&.fetch("active_pid") }
    started = now
    # The server ends a connection that says nothing for 1.5 s.
    eventually { now - started > 3 && slot["active_pid"] == pid }
    expect(subscription.stats).to include(held: be_between(50, 51), running: 1, snapshot_tables: 1)
    expect(subscription.stats[:taken]).to be < 200
    held << 1
    expect(next_ones(20_000)).to eq([*1..20_000])
    caught_up
    expect([slot["active_pid"], errors.size]).to eq([pid, 0])
  end

  it "goes on after its connections break" do
    # More than fits into the buffers of a connection.
    pg.exec("INSERT INTO accounts SELECT generate_series(1, 5000), repeat('x', 200)")
    held = Queue.new
    kept = got
    subscription = watch(prefetch: 50) do |event|
      kept << event["id"]
      held.pop if kept.size == 100
    end
    eventually { held.num_waiting == 1 }
    cut_all
    held << 1
    eventually { subscription.stats[:reconnections].positive? }
    caught_up
    # What was under way comes, and then all of the table again. A busy machine may break a connection by itself, too.
    runs = Array.new(got.size) { got.pop }.slice_when { |one, other| other <= one }.to_a
    expect(runs).to eq(runs.map { |run| [*1..run.last] })
    expect([runs.size > 1, runs.last.last, recorded]).to eq([true, 5_000, ['"public"."accounts"']])
  end

  def cut_all
    pg.exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() " \
            "AND pid <> pg_backend_pid()")
  end

  it "leaves no rows to a standby that takes over, once they are done" do
    insert(1..3)
    kept = got
    first, second = Array.new(2) { |number| watch { |event| kept << [number, event["id"]] } }
    expect(next_ones(3)).to eq([[0, 1], [0, 2], [0, 3]])
    expect([first.stats[:standby], second.stats[:standby]]).to eq([0, 1])
    caught_up
    first.stop
    insert(4..4)
    expect([next_of(got), got.size]).to eq([[1, 4], 0])
  end

  it "marks the changes that the rows of a slot that was there had already, and leaves out none of them" do
    insert(1..3)
    subscription = keep_events(snapshot: false)
    insert(4..4)
    expect(next_of(got)["id"]).to eq(4)
    caught_up
    subscription.stop
    pg.exec("DELETE FROM accounts WHERE id = 4; UPDATE accounts SET version = 1 WHERE id = 1")
    keep_events
    expect(next_ones(3).map { |event| told(event) }).to match_array([1, 2, 3].map { |id| ["accounts", id, true] })
    pg.exec("UPDATE accounts SET version = 2 WHERE id = 2")
    expect(next_ones(3).map { |event| [event.operation, event.key, event.metadata[:in_snapshot]] })
      .to eq([[:delete, "4", true], [:update, "1", true], [:update, "2", nil]])
  end

  it "tells a slot that was dropped while no consumer ran, because it knows that there was one" do
    insert(1..1)
    subscription = keep_events
    next_of(got)
    caught_up
    subscription.stop
    pg.exec("SELECT pg_drop_replication_slot('ipc')")
    expect { keep_events(on_slot_lost: :raise) }.to raise_error(RedisIPC::ConfigurationError, /is not there any more/)
    keep_events
    expect([next_of(losses).cause, told(next_of(got))]).to eq([:slot_lost, ["accounts", 1, true]])
  end

  it "is taken again where the slot was lost, after that is told" do
    insert(1..2)
    subscription = keep_events
    next_ones(2)
    caught_up
    subscription.pause
    pg.exec("DELETE FROM accounts WHERE id = 1")
    lose_slot
    expect(next_of(errors)).to be_a(RedisIPC::ConnectionError)
    subscription.resume
    expect(next_of(losses)).to have_attributes(cause: :slot_lost)
    found = next_until { |event| event.metadata[:snapshot] }
    expect(told(found)).to eq(["accounts", 2, true])
    eventually { recorded == ['"public"."accounts"'] }
  end

  def lose_slot
    eventually do
      cut_wal
      pg.exec("SELECT pg_drop_replication_slot('ipc')")
    rescue PG::ObjectInUse
      false
    end
  end

  def next_until
    loop { yield(one = next_of(got)) && (return one) }
  end

  it "comes at each start by a slot that lives as long as the connection, and needs no table" do
    pg.exec("CREATE PUBLICATION ipc FOR TABLE accounts")
    insert(1..2)
    2.times do
      subscription = consume_from(wal: wal_url, publication: "ipc", temporary: true, snapshot: true,
                                  &got.method(:<<).to_proc)
      expect(next_ones(2).map { |event| told(event) }).to eq([["accounts", 1, true], ["accounts", 2, true]])
      subscription.stop
    end
    expect(pg.exec("SELECT to_regclass('redis_ipc_snapshots')").getvalue(0, 0)).to be_nil
  end

  it "says what it needs" do
    role = "reader_#{database_name}"
    pg.exec("CREATE ROLE #{role} LOGIN REPLICATION; CREATE PUBLICATION ipc FOR ALL TABLES")
    make_slot("ipc")
    words = { wal: wal_url(user: role), slot: "ipc", snapshot: true }
    expect { consume_from(**words) { nil } }
      .to raise_error(RedisIPC::ConfigurationError, /GRANT SELECT ON "public"."accounts"/)
    pg.exec("GRANT SELECT ON accounts TO #{role}")
    expect { consume_from(**words) { nil } }
      .to raise_error(RedisIPC::ConfigurationError, /run (CREATE TABLE redis_ipc_snapshots .*\)\)), or/) { |error|
        pg.exec(error.message[/CREATE TABLE .*\)\)/])
      }
    expect { consume_from(**words) { nil } }
      .to raise_error(RedisIPC::ConfigurationError, /GRANT SELECT, INSERT, UPDATE, DELETE ON redis_ipc_snapshots/)
    pg.exec("GRANT SELECT, INSERT, UPDATE, DELETE ON redis_ipc_snapshots TO #{role}; INSERT INTO accounts VALUES (1)")
    consume_from(**words, &got.method(:<<).to_proc)
    expect(next_ones(2).map { |event| event.metadata.slice(:snapshot, :in_snapshot) })
      .to eq([{ snapshot: true }, { in_snapshot: true }])
    caught_up
    # Its own table is no business of the consumer's handlers.
    expect([recorded, got.size]).to eq([['"public"."accounts"'], 0])
  ensure
    stop_consumers
    pg.exec("DROP OWNED BY #{role}; DROP ROLE #{role}") if role
  end
end

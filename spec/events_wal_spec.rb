# frozen_string_literal: true

RSpec.describe "events of PostgreSQL's log" do
  include WalDatabases

  let(:got) { Queue.new }
  let(:losses) { Queue.new }

  before { pg.exec("CREATE TABLE accounts (id int PRIMARY KEY, name text, amount numeric)") }

  # Handles changes with a block. Errors go to `errors`, losses to `losses`.
  def watch(tables: "accounts", slot: "ipc", create: true, url: wal_url, **words, &block)
    words = { on_loss: losses.method(:<<), retry_on: { StandardError => { wait: 0 } } }.merge(words)
    consume_from(wal: url, tables: tables, slot: slot, create: create, **words, &block)
  end

  def keep_events(**words)
    kept = got
    watch(**words) { |event| kept << event }
  end

  def insert(*ids)
    pg.exec("INSERT INTO accounts SELECT unnest('{#{ids.join(",")}}'::int[])")
  end

  def ids(count)
    next_ones(count).map { |event| event["id"] }
  end

  describe "of rows" do
    it "say what was done, where and when, and to what" do
      keep_events
      pg.exec("INSERT INTO accounts VALUES (7, 'Ä', 1.50)")
      event = next_of(got)
      expect(event).to have_attributes(
        source: "#{database_name}/ipc", kind: :wal, operation: :insert, type: "accounts.insert", key: "7",
        data: { "id" => 7, "name" => "Ä", "amount" => "1.50" }, old: nil, changes: nil, attempt: 1,
        guarantee: :at_least_once, position: match(%r{\A\h+/\h+\z}), occurred_at: be_within(10).of(Time.now)
      )
      expect(event.transaction).to have_attributes(index: 0, last?: true, commit_lsn: event.position,
                                                   committed_at: be_within(10).of(Time.now))
      expect(event.metadata).to include(schema: "public", table: "accounts", xid: event.transaction.id,
                                        identity: { "id" => 7 }, lsn: match(%r{\A\h+/\h+\z}))
      expect([event, event.data, event.metadata]).to all(be_frozen)
    end

    it "are the same after Marshal, and plain as a Hash" do
      keep_events
      pg.exec("CREATE TABLE visits (at timestamptz, day date, score float8)")
      pg.exec("ALTER PUBLICATION ipc ADD TABLE visits")
      pg.exec("INSERT INTO accounts VALUES (7, NULL, NULL)")
      event = next_of(got)
      expect(Marshal.load(Marshal.dump(event)).to_h).to eq(event.to_h)
      expect(event.to_h).to include("key" => "7", "transaction" => include("index" => 0, "last" => true))
      expect(JSON.parse(JSON.generate(event.to_h))).to eq(event.to_h)
    end

    it "have the key of the replica identity, before and after" do
      keep_events
      insert(1)
      pg.exec("UPDATE accounts SET name = 'a'")
      pg.exec("UPDATE accounts SET id = 2")
      pg.exec("DELETE FROM accounts")
      found = next_ones(4).map do |event|
        [event.operation, event.key, event.old, event.changes, event.data&.fetch("id")]
      end
      expect(found[..1]).to eq([[:insert, "1", nil, nil, 1], [:update, "1", nil, nil, 1]])
      expect(found[2..]).to eq([[:update, "1", { "id" => 1 }, { "id" => [1, 2] }, 2],
                                [:delete, "2", { "id" => 2 }, nil, nil]])
    end

    it "have the whole row before, where the identity is full, and then no key" do
      pg.exec("ALTER TABLE accounts REPLICA IDENTITY FULL")
      keep_events
      pg.exec("INSERT INTO accounts VALUES (1, 'a', 2)")
      pg.exec("UPDATE accounts SET name = 'b'")
      pg.exec("DELETE FROM accounts")
      _, update, delete = next_ones(3)
      expect(update).to have_attributes(key: nil, old: { "id" => 1, "name" => "a", "amount" => "2" },
                                        changes: { "name" => %w[a b] })
      expect(delete).to have_attributes(key: nil, data: nil, old: { "id" => 1, "name" => "b", "amount" => "2" })
    end

    it "have a key of several columns, or that which the consumer names" do
      pg.exec("CREATE TABLE pairs (a int, b text, c int, PRIMARY KEY (a, b))")
      keep_events(tables: "pairs")
      kept = got
      watch(tables: "pairs", slot: "by", order: [:key, { by: "c" }]) { |event| kept << event }
      pg.exec("INSERT INTO pairs VALUES (1, 'x,y', 3)")
      expect(next_ones(2).map(&:key)).to contain_exactly('["1","x,y"]', "3")
    end

    it "include truncation, and logical messages within and outside of transactions" do
      keep_events
      insert(1)
      pg.exec("BEGIN; TRUNCATE accounts RESTART IDENTITY; SELECT pg_logical_emit_message(true, 'mail', 'ü'); COMMIT")
      pg.exec("SELECT pg_logical_emit_message(false, 'mail', '\\xff'::bytea)")
      _, truncate, message, outside = next_ones(4)
      expect(truncate).to have_attributes(operation: :truncate, type: "accounts.truncate", key: nil, data: nil)
      expect(truncate.metadata).to include(restart_identity: true)
      expect(message).to have_attributes(operation: :message, type: "mail", data: "ü")
      expect(message.transaction).to have_attributes(index: 1, last?: true)
      expect(outside).to have_attributes(data: "\xFF".b, transaction: nil, position: outside.metadata[:lsn])
    end

    it "leave out a value that is stored in TOAST and did not change, unless the old row has it" do
      pg.exec("ALTER TABLE accounts ALTER name SET STORAGE EXTERNAL")
      keep_events
      long = "x" * 10_000
      pg.exec("INSERT INTO accounts VALUES (1, '#{long}', 1)")
      pg.exec("UPDATE accounts SET amount = 2")
      pg.exec("ALTER TABLE accounts REPLICA IDENTITY FULL")
      pg.exec("UPDATE accounts SET amount = 3")
      inserted, without, with = next_ones(3)
      expect(inserted["name"]).to eq(long)
      expect([without.data, without.metadata[:unchanged]]).to eq([{ "id" => 1, "amount" => "2" }, ["name"]])
      expect([with["name"], with.changes, with.metadata[:unchanged]]).to eq([long, { "amount" => %w[2 3] }, nil])
    end

    it "go to the handlers of their types" do
      kept = got
      url = wal_url
      start(Class.new(RedisIPC::Events::Consumer) do
        wal url, tables: %w[accounts], slot: "ipc", create: true
        options logger: Consumers.silent
        on("accounts.insert") { |event| kept << [:new, event["id"]] }
        define_method(:call) { |event| kept << [event.type, event.key] }
      end)
      insert(1)
      pg.exec("DELETE FROM accounts")
      expect(next_ones(2)).to eq([[:new, 1], ["accounts.delete", "1"]])
    end

    it "are those of cdc-core with their table, key and transaction" do
      cdc_event = Struct.new(:operation, :schema, :table, :old_values, :new_values, :primary_key, :transaction_id,
                             :commit_lsn, :sequence_number, :occurred_at, :metadata, keyword_init: true)
      stub_const("CDC::Core::ChangeEvent", cdc_event)
      keep_events
      insert(1)
      event = next_of(got)
      expect(event.to_cdc).to have_attributes(
        operation: :insert, schema: "public", table: "accounts", primary_key: { "id" => 1 }, sequence_number: 0,
        transaction_id: event.transaction.id, commit_lsn: event.position, old_values: nil,
        new_values: { "id" => 1, "name" => nil, "amount" => nil }
      )
    end
  end

  it "follow a table that is renamed and altered while they stream" do
    keep_events
    insert(1)
    pg.exec("ALTER TABLE accounts ADD note text DEFAULT 'n'; ALTER TABLE accounts DROP amount")
    insert(2)
    expect(next_ones(2).map(&:data)).to eq([{ "id" => 1, "name" => nil, "amount" => nil },
                                            { "id" => 2, "name" => nil, "note" => "n" }])
  end

  it "of partitions belong to the table that is named, also of those that come later" do
    pg.exec("CREATE TABLE log (id int PRIMARY KEY) PARTITION BY RANGE (id)")
    pg.exec("CREATE TABLE log_1 PARTITION OF log FOR VALUES FROM (0) TO (10)")
    pg.exec("CREATE PUBLICATION ipc FOR ALL TABLES")
    keep_events(tables: "log")
    pg.exec("CREATE TABLE log_2 PARTITION OF log FOR VALUES FROM (10) TO (20)")
    insert(1)
    pg.exec("INSERT INTO log VALUES (5), (15)")
    expect(next_ones(2).map { |event| [event.metadata[:table], event["id"]] }).to eq([["log_1", 5], ["log_2", 15]])
  end

  describe "in their order" do
    it "wait for one that fails, and are tried until it is done" do
      tries = Queue.new
      kept = got
      watch do |event|
        kept << event["id"]
        tries << event.attempt if event["id"] == 2
        raise "not yet" if event["id"] == 2 && event.attempt < 4
      end
      insert(1, 2, 3)
      expect(next_ones(6)).to eq([1, 2, 2, 2, 2, 3])
    end

    it "go on for other keys" do
      held = Queue.new
      kept = got
      watch(order: :key) do |event|
        held.pop if event["id"] == 1 && event.operation == :insert
        kept << [event["id"], event.operation]
      end
      insert(1)
      eventually { held.num_waiting == 1 }
      pg.exec("UPDATE accounts SET name = 'a'")
      insert(2, 3)
      expect(next_ones(2)).to contain_exactly([2, :insert], [3, :insert])
      held << 1
      expect(next_ones(2)).to eq([[1, :insert], [1, :update]])
    end

    it "wait while their key is paused, in all tables, and the others go on" do
      pg.exec("CREATE TABLE pairs (a int, b text, PRIMARY KEY (a, b))")
      kept = got
      subscription = watch(order: :key, tables: %w[accounts pairs]) { |event| kept << event.key }
      keys = ["1", 2, '["1","x\"y"]']
      keys.each { |key| subscription.pause(key: key) }
      insert(1, 2, 3)
      pg.exec("INSERT INTO pairs VALUES (1, 'x\"y'), (1, 'z')")
      pg.exec("UPDATE accounts SET name = 'a'")
      expect(next_ones(3).tally).to eq({ "3" => 2, '["1","z"]' => 1 })
      eventually { subscription.stats[:held] == 5 }
      keys.each { |key| subscription.resume(key: key) }
      expect(next_ones(5).tally).to eq({ "1" => 2, "2" => 2, '["1","x\"y"]' => 1 })
      expect(got.size).to eq(0)
    end

    it "keep a row whose key changes behind the events of both" do
      held = Queue.new
      kept = got
      watch(order: :key) do |event|
        held.pop if event.operation == :insert && event["id"] == 1
        kept << [event.operation, event["id"]]
      end
      insert(1)
      pg.exec("UPDATE accounts SET id = 2")
      pg.exec("UPDATE accounts SET name = 'a' WHERE id = 2")
      insert(1)
      expect(happens?(within: 0.2) { !got.empty? }).to be(false)
      2.times { held << 1 }
      expect(next_ones(2)).to eq([[:insert, 1], [:update, 2]])
      expect(next_ones(2)).to contain_exactly([:update, 2], [:insert, 1])
    end

    it "are given up on after the declared number of attempts, which is reported" do
      kept = got
      watch(attempts: 2, retry_on: { StandardError => { wait: 0 } }) do |event|
        kept << event["id"]
        raise "never" if event["id"] == 1
      end
      insert(1, 2)
      expect(next_ones(3)).to eq([1, 1, 2])
      expect(next_of(errors).message).to eq("never")
      end_of_log = log_end
      eventually { confirmed?(end_of_log) }
    end
  end

  describe "progress" do
    it "is confirmed at the end of a transaction below which all is done" do
      held = Queue.new
      kept = got
      watch(order: :none, concurrency: { threads: 4 }) do |event|
        held.pop if event["id"] == 2
        kept << event["id"]
      end
      begun = slot["confirmed"]
      insert(2)
      eventually { held.num_waiting == 1 }
      after_first = log_end
      insert(1, 3)
      expect(next_ones(2)).to contain_exactly(1, 3)
      eventually do
        pg.exec("SELECT 1 FROM pg_stat_replication WHERE reply_time > now() - interval '0.3 s'").ntuples == 1
      end
      expect(slot["confirmed"]).to be < after_first
      expect(slot["confirmed"]).to be >= begun
      held << 1
      end_of_log = log_end
      eventually { confirmed?(end_of_log) }
    end

    it "moves on while its tables do not change" do
      subscription = keep_events
      pg.exec("CREATE TABLE others AS SELECT generate_series(1, 1000)")
      end_of_log = log_end
      eventually { confirmed?(end_of_log) }
      expect(subscription.lag).to be < 10_000
      expect(subscription.stats).to include(taken: 0, done: 0, transactions: 0)
    end

    it "is confirmed to the server while handlers are stuck and there is no room" do
      held = Queue.new
      kept = got
      subscription = watch(prefetch: 10) do |event|
        held.pop if event["id"] == 1
        kept << event["id"]
      end
      insert(1)
      pid = slot["active_pid"]
      pg.exec("INSERT INTO accounts SELECT generate_series(2, 20000), repeat('x', 1000)")
      # Waits for three times the timeout of the server.
      started = now
      eventually { now - started > 4.5 && slot["active_pid"] == pid }
      expect(subscription.stats).to include(held: 11, running: 1)
      held << 1
      expect(next_ones(20_000)).to eq([*1..20_000])
      expect([slot["active_pid"], errors.size]).to eq([pid, 0])
    end

    it "continues after a broken connection from where it was" do
      subscription = keep_events
      20.times do |round|
        insert(*((round * 10)...((round + 1) * 10)))
        cut_wal if (round % 5).zero?
      end
      expect(ids(200)).to eq([*0...200])
      eventually { subscription.stats[:reconnections].positive? }
      end_of_log = log_end
      eventually { confirmed?(end_of_log) }
      expect([got.size, subscription.stats[:transactions]]).to eq([0, 0])
    end

    it "continues, and repeats nothing, after connections that break in the middle of any message" do
      seed = Random.new_seed
      random = Random.new(seed)
      proxy = LyingServer.new(File.join(cluster.folder, ".s.PGSQL.5432"))
      held = Queue.new
      watch_through(proxy) { |event| held.pop if event["id"] == 1 }
      left = 0
      proxy.lie = ->(bytes) { (left -= bytes.size).negative? ? broken(bytes, bytes.size + left) : bytes }
      cuts = Enumerator.produce { left = random.rand(1..60_000) }
      insert_in_parts(400, random)
      # Nothing is confirmed meanwhile, so each connection sends everything again.
      6.times do
        cut_wal
        cuts.next
        eventually { left.negative? }
      end
      proxy.lie = nil
      held << 1
      expect([seed, next_ones(400)]).to eq([seed, [*1..400]])
      end_of_log = log_end
      eventually { confirmed?(end_of_log) }
      expect([seed, got.size]).to eq([seed, 0])
    ensure
      stop_consumers
      proxy&.stop
    end

    def watch_through(proxy)
      kept = got
      watch(url: "postgres://spec@127.0.0.1:#{proxy.port}/#{database_name}?sslmode=disable") do |event|
        yield event
        kept << event["id"]
      end
    end

    # Passes on the first `count` bytes, and then breaks the connection.
    def broken(bytes, count)
      Enumerator.new do |pieces|
        pieces << bytes.byteslice(0, [count, 0].max)
        raise IOError, "the connection is broken on purpose"
      end
    end

    # Inserts rows 1, 2, 3 and so on, in transactions of 1 to 9 rows, while connections break.
    def insert_in_parts(count, random)
      writer = connect_to(database_name)
      next_id = 1
      Thread.new do
        while next_id <= count
          last = [next_id + random.rand(9), count].min
          writer.exec("INSERT INTO accounts SELECT generate_series(#{next_id}, #{last}), repeat('x', 100)")
          next_id = last + 1
        end
        writer.close
      end
    end

    it "continues in the next process, and loses nothing when one is killed" do
      make_slot("ipc")
      pg.exec("CREATE PUBLICATION ipc FOR TABLE accounts")
      insert(*1..500)
      script = <<~RUBY
        RedisIPC::Events.consume(wal: "#{wal_url}", tables: "accounts", slot: "ipc") do |event|
          puts event["id"]
          sleep if event["id"] == 100
        end
        sleep
      RUBY
      process = ruby(script)
      expect(Array.new(100) { process.line.to_i }).to eq([*1..100])
      process.kill
      insert(*501..600)
      keep_events(create: false)
      expect(ids(600)).to eq([*1..600])
    end

    it "continues where a consumer was stopped, without repeating anything" do
      subscription = keep_events
      insert(*1..10)
      expect(ids(10)).to eq([*1..10])
      pg.exec("SELECT pg_logical_emit_message(false, 'mail', 'outside of transactions')")
      expect(next_of(got).type).to eq("mail")
      subscription.stop
      insert(11)
      keep_events
      expect(ids(1)).to eq([11])
    end
  end

  describe "of one slot" do
    it "come to one process at a time, and another one takes over" do
      kept = got
      first, second = Array.new(2) { |number| watch { |event| kept << [number, event["id"]] } }
      insert(1)
      expect(next_of(got)).to eq([0, 1])
      expect([first.stats[:standby], second.stats[:standby]]).to eq([0, 1])
      first.stop
      insert(2)
      expect(next_of(got, timeout: 5)).to eq([1, 2])
      expect(errors.size).to eq(0)
    end

    it "come to a standby within 5 s once the process that has them is killed" do
      make_slot("ipc")
      pg.exec("CREATE PUBLICATION ipc FOR TABLE accounts")
      process = ruby(<<~RUBY)
        RedisIPC::Events.consume(wal: "#{wal_url}", tables: "accounts", slot: "ipc") { |event| puts event["id"] }
        sleep
      RUBY
      insert(1)
      expect(process.line).to eq("1")
      standby = keep_events(create: false)
      expect(standby.stats[:standby]).to eq(1)
      process.kill
      insert(2)
      # The first one may come again before it.
      taken = [next_of(got, timeout: 5)["id"]]
      taken << next_of(got, timeout: 5)["id"] if taken == [1]
      expect(taken.last).to eq(2)
    end

    it "report a lost slot, and go on with a new one" do
      keep_events
      insert(1)
      expect(ids(1)).to eq([1])
      kill_slot
      expect(next_of(losses)).to have_attributes(cause: :slot_lost, at_most: nil, source: "#{database_name}/ipc")
      insert(2)
      expect(ids(1)).to eq([2])
    end

    it "wait for an operator with on_slot_lost: :raise, and say what to run" do
      keep_events(on_slot_lost: :raise)
      kill_slot
      told = next_ones_until(errors) { |error| error.is_a?(RedisIPC::ConfigurationError) }
      expect(told.message).to include("is not there any more",
                                      "SELECT pg_create_logical_replication_slot('ipc', 'pgoutput')")
      make_slot("ipc")
      eventually { slot["active_pid"] }
      insert(2)
      expect(ids(1)).to eq([2])
    end

    # Drops the slot while it is in use.
    def kill_slot
      pg.exec("SET client_min_messages = error")
      pid = slot["active_pid"]
      eventually do
        pg.exec("SELECT pg_terminate_backend(#{pid})")
        pg.exec("SELECT pg_drop_replication_slot('ipc')")
      rescue PG::ObjectInUse
        pid = slot&.fetch("active_pid") || pid
        false
      end
    end

    def next_ones_until(queue)
      loop { yield(one = next_of(queue)) && (return one) }
    end
  end

  it "can use a slot that lives as long as the connection" do
    pg.exec("CREATE PUBLICATION ipc FOR TABLE accounts")
    subscription = keep_events(slot: nil, publication: "ipc", temporary: true, create: false)
    insert(1)
    expect(ids(1)).to eq([1])
    subscription.stop
    eventually { pg.exec("SELECT 1 FROM pg_replication_slots").ntuples.zero? }
  end

  [{ processes: 2 }, { fibers: 5 }].each do |concurrency|
    it "are handled in #{concurrency.keys.first}", gem: ("async" if concurrency.key?(:fibers)) do
      reader, writer = IO.pipe
      watch(concurrency: concurrency) do |event|
        writer.puts("#{event.type} #{event.changes} #{event["name"]}")
      end
      pg.exec("INSERT INTO accounts VALUES (1, 'ä', 2)")
      expect(reader.gets.force_encoding("UTF-8")).to eq("accounts.insert  ä\n")
    ensure
      [reader, writer].each(&:close)
    end
  end
end

# frozen_string_literal: true

# The changes of a transaction of PostgreSQL together.
RSpec.describe "transactions of PostgreSQL's log" do
  include WalDatabases

  let(:got) { Queue.new }

  before { pg.exec("SET client_min_messages = error; CREATE TABLE accounts (id int PRIMARY KEY, name text)") }

  def watch(**words, &block)
    words = { create: true, retry_on: { StandardError => { wait: 0 } } }.merge(words)
    consume_from(wal: wal_url, tables: "accounts", slot: "ipc", transactions: true, **words, &block)
  end

  def keep_transactions(**words)
    kept = got
    watch(**words) { |transaction| kept << transaction }
  end

  def insert(range)
    pg.exec("INSERT INTO accounts SELECT generate_series(#{range.min}, #{range.max})")
  end

  def ids(transaction)
    transaction.map { |event| event["id"] }
  end

  it "come as a whole, one after the other, with what is known of them" do
    subscription = keep_transactions
    insert(1..3)
    pg.exec("UPDATE accounts SET name = 'a' WHERE id = 2; DELETE FROM accounts WHERE id = 3")
    first, second = next_ones(2)
    expect(first).to have_attributes(
      size: 3, first?: true, last?: true, whole?: true, snapshot?: false, attempt: 1, redelivered?: false,
      source: "#{database_name}/ipc", id: first.events.first.transaction.id, committed_at: be_within(10).of(Time.now),
      position: first.events.last.position, inspect: match(/CommittedTransaction .*, 3 changes, attempt 1>/)
    )
    expect([ids(first), second.map(&:type)]).to eq([[1, 2, 3], %w[accounts.update accounts.delete]])
    expect(first.to_h).to include("id" => first.id, "events" => first.map(&:to_h))
    expect([first, first.events]).to all(be_frozen)
    eventually { subscription.stats[:done] == 5 }
  end

  it "go to a class, with messages outside of transactions alone" do
    kept = got
    url = wal_url
    start(Class.new(RedisIPC::Events::Consumer) do
      wal url, tables: "accounts", slot: "ipc", create: true
      options logger: Consumers.silent
      on_transaction { |transaction| kept << [transaction.id.nil?, transaction.whole?, transaction.map(&:type)] }
    end)
    pg.exec("SELECT pg_logical_emit_message(false, 'mail', '1')")
    insert(1..2)
    expect(next_ones(2)).to eq([[true, true, ["mail"]], [false, true, %w[accounts.insert accounts.insert]]])
  end

  it "come in parts if they have more changes than are held, and the next one comes after all parts" do
    subscription = keep_transactions(prefetch: 100)
    insert(1..100)
    insert(101..1101)
    insert(1102..1102)
    parts = []
    parts << next_of(got) until parts.last&.include?(parts.last.events.last) && ids(parts.last).last == 1102
    expect(parts.flat_map { |part| ids(part) }).to eq([*1..1102])
    expect(ids(parts.first)).to eq([*1..100])
    large = parts[1...-1]
    expect(large.map(&:size)).to all(be <= 100)
    expect(large.map(&:first?)).to eq([true, *([false] * (large.size - 1))])
    expect(large.map(&:last?)).to eq([*([false] * (large.size - 1)), true])
    expect([parts.first, parts.last].map(&:whole?)).to eq([true, true])
    expect(large.map(&:id).uniq.size).to eq(1)
    eventually { subscription.stats[:transactions].zero? }
  end

  it "are not divided because others wait before them" do
    held = Queue.new
    kept = got
    subscription = watch(prefetch: 100) do |transaction|
      held.pop if ids(transaction) == [1]
      kept << transaction
    end
    insert(1..1)
    eventually { held.num_waiting == 1 }
    insert(2..11)
    insert(12..110)
    eventually { subscription.stats[:held] > 100 }
    held << 1
    expect(next_ones(3).map { |transaction| [transaction.size, transaction.whole?] })
      .to eq([[1, true], [10, true], [99, true]])
  end

  it "are tried again as a whole, while the others wait" do
    kept = got
    watch do |transaction|
      kept << [ids(transaction), transaction.attempt]
      raise "not yet" if transaction.size == 3 && transaction.attempt < 3
    end
    insert(1..3)
    insert(4..5)
    expect(next_ones(4)).to eq([[[1, 2, 3], 1], [[1, 2, 3], 2], [[1, 2, 3], 3], [[4, 5], 1]])
  end

  it "are given up on as a whole, which is told once; and fail by one change that is marked" do
    kept = got
    subscription = watch(attempts: 2) do |transaction|
      kept << transaction.size
      transaction.events.last.fail!("broken") if transaction.size == 3
    end
    insert(1..3)
    insert(4..5)
    expect(next_ones(3)).to eq([3, 3, 2])
    expect(next_of(errors)).to have_attributes(class: RedisIPC::EventFailedError, message: include("broken"))
    end_of_log = log_end
    eventually { confirmed?(end_of_log) }
    expect([subscription.stats[:failed], errors.size]).to eq([3, 0])
  end

  it "come as a whole again after a connection that breaks in the middle of one" do
    held = Queue.new
    kept = got
    watch(prefetch: 1_000) do |transaction|
      held.pop if ids(transaction) == [1]
      kept << transaction
    end
    insert(1..1)
    eventually { held.num_waiting == 1 }
    pg.exec("INSERT INTO accounts SELECT generate_series(2, 1500), repeat('x', 1000)")
    eventually { slot["active_pid"] }
    cut_wal
    held << 1
    parts = next_ones(1)
    parts << next_of(got) until parts.last.last? && parts.size > 1
    expect(parts.flat_map { |part| ids(part) }).to eq([*1..1500])
    expect(parts.drop(1).count(&:first?)).to eq(1)
  end

  it "have the rows of a snapshot before them, as many together as are there" do
    insert(1..500)
    keep_transactions(snapshot: true)
    found = next_ones(1)
    insert(501..502)
    found << next_of(got) until found.last && ids(found.last).last == 502
    *rows, last = found
    expect(rows.map { |one| [one.snapshot?, one.id, one.whole?] }.uniq).to eq([[true, nil, true]])
    expect(rows.flat_map { |one| ids(one) }).to eq([*1..500])
    expect([last.snapshot?, ids(last)]).to eq([false, [501, 502]])
  end

  [{ processes: 1 }, { fibers: 5 }, { threads: 5 }].each do |concurrency|
    it "are handled in #{concurrency.keys.first}", gem: ("async" if concurrency.key?(:fibers)) do
      reader, writer = IO.pipe
      watch(concurrency: concurrency) { |transaction| writer.puts("#{transaction.size} #{transaction.whole?}") }
      insert(1..100)
      insert(101..102)
      expect([reader.gets, reader.gets]).to eq(["100 true\n", "2 true\n"])
    ensure
      [reader, writer].each(&:close)
    end
  end

  it "pass through middleware and notifications as one" do
    told = Queue.new
    subscriber = RedisIPC.subscribe(:event) { |notification| told << notification.payload }
    keep_transactions(around_event: lambda { |transaction, handler|
      told << transaction.size
      handler.call
    })
    insert(1..2)
    expect(next_of(told)).to eq(2)
    expect(next_of(told)).to include(size: 2, status: "done", events: all(be_a(RedisIPC::ChangeEvent)))
  ensure
    RedisIPC.unsubscribe(subscriber)
  end

  it "are refused with what they cannot be combined with" do
    { { order: :key } => "order :source", { batch: { size: 5 } } => "on_transaction and batches" }
      .each do |words, expected|
      expect { keep_transactions(**words) }.to raise_error(RedisIPC::ConfigurationError, /#{expected}/)
    end
    consumer = Class.new(RedisIPC::Events::Consumer) do
      stream "orders", group: "g"
      on_transaction { nil }
    end
    expect { consumer.start }.to raise_error(RedisIPC::ConfigurationError, /needs PostgreSQL/)
    expect { consumer.on_transaction }.to raise_error(ArgumentError)
  end
end

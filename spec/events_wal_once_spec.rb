# frozen_string_literal: true

# Changes of PostgreSQL whose effects are in a database once. The consumers are real processes, because that is what
# dies; and the suite's own process has no Active Record.
RSpec.describe "changes of PostgreSQL's log with exactly_once", gem: "rails" do
  include WalDatabases

  before do
    pg.exec("CREATE TABLE accounts (id int PRIMARY KEY, name text); CREATE TABLE effects (id serial, account int)")
    pg.exec("CREATE PUBLICATION ipc FOR TABLE accounts")
    make_slot("ipc")
  end

  # A process whose handler runs `first`, and then writes an effect of each account.
  def consuming(first = "", words: "order :source", handler: "def call(event) = effect(event)")
    script = <<~RUBY
      require "active_record"
      require "logger"
      ActiveRecord::Base.establish_connection(adapter: "postgresql", host: "#{cluster.folder}", username: "spec",
                                              database: "#{database_name}")
      RedisIPC::Events.create_tables(ActiveRecord::Base)
      class Effect < ActiveRecord::Base; end
      class Accounts < RedisIPC::Events::Consumer
        wal "#{wal_url}", tables: "accounts", slot: "ipc"
        exactly_once ActiveRecord::Base
        #{words}
        retry_on StandardError, wait: 0
        options logger: Logger.new(IO::NULL)

        def effect(event)
          #{first}
          Effect.create!(account: event["id"])
        end

        #{handler}
      end
      Accounts.start
      while $stdin.gets
        puts Accounts.stats.values_at(:done, :skipped).join(" ")
      end
      Accounts.stop
    RUBY
    ruby(script)
  end

  def effects
    pg.exec("SELECT account FROM effects ORDER BY id").values.flatten.map(&:to_i)
  end

  def insert(ids)
    pg.exec("INSERT INTO accounts SELECT g FROM generate_series(#{ids.first}, #{ids.last}) g")
  end

  it "happen once and in their order, though processes are killed before and after they commit" do
    # The effect before is committed, and PostgreSQL was not told.
    die = "$calls = $calls.to_i + 1; Process.kill(:KILL, Process.pid) && sleep if $calls == 30"
    process = consuming(die)
    insert(1..60)
    (61..80).each { |id| insert(id..id) }
    deaths = 0
    eventually(timeout: 50) do
      if process.ended?
        deaths += 1
        process = consuming(deaths < 2 ? die : "")
      end
      effects.size >= 80
    end
    expect([effects, deaths]).to match([[*1..80], be_positive])
  end

  it "are skipped where the slot does not know of them, and tried again where they fail" do
    process = consuming
    insert(1..20)
    eventually { effects.size == 20 }
    process.kill
    process.wait
    insert(21..30)
    process = consuming('raise "no" if (@@calls = (defined?(@@calls) ? @@calls : 0) + 1) < 5', words: "order :key")
    eventually { effects.size == 30 }
    process.puts("stats")
    done, skipped = process.line.split.map(&:to_i)
    expect([done, skipped]).to match([20..30, done - 10])
    expect(effects.sort).to eq([*1..30])
    expect(pg.exec("SELECT count(*) FROM redis_ipc_processed").getvalue(0, 0).to_i).to eq(30)
    process.end_input
    process.wait
  end

  it "happen once where the changes of a transaction are handled together" do
    words = "on_transaction { |transaction| transaction.events.each { |event| effect(event) } }"
    process = consuming("raise \"no\" if event[\"id\"] == 3 && ($calls = $calls.to_i + 1) == 1", handler: words)
    insert(1..5)
    eventually { effects == [*1..5] }
    process.kill
    process.wait
    consuming(handler: words)
    insert(6..10)
    eventually { effects.size >= 10 }
    expect(effects).to eq([*1..10])
  end

  it "happen once where a transaction comes again in larger parts" do
    words = "on_transaction { |transaction| transaction.each { |event| effect(event) } }"
    die = "Process.kill(:KILL, Process.pid) && sleep if event[\"id\"] == 150"
    process = consuming(die, words: "options prefetch: 100", handler: words)
    insert(1..500)
    eventually { process.ended? }
    expect(effects).to eq([*1..100])
    consuming(handler: words)
    eventually { effects.size >= 500 }
    expect(effects).to eq([*1..500])
  end

  it "are recorded where a transaction is discarded" do
    consuming(words: "discard_on KeyError", handler: "on_transaction { |_| raise KeyError, \"no\" }")
    insert(1..5)
    end_of_log = log_end
    eventually { confirmed?(end_of_log) }
    expect(pg.exec("SELECT count(*) FROM redis_ipc_processed").getvalue(0, 0).to_i).to eq(5)
  end
end

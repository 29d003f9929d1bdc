# frozen_string_literal: true

require "fileutils"
require "json"
require "tmpdir"

# `redis_ipc events doctor` and `redis_ipc events slots`, beside a real PostgreSQL.
RSpec.describe "redis_ipc events" do
  include WalDatabases

  executable = File.expand_path("../exe/redis_ipc", __dir__)

  let(:folder) { Dir.mktmpdir("redis_ipc_cli") }

  after { FileUtils.remove_entry(folder) }

  # What the command prints about consumers of the body, and its status.
  define_method(:command) do |verb, body, *arguments, url: wal_url|
    File.write(File.join(folder, "app.rb"), <<~RUBY)
      class Feed < RedisIPC::Events::Consumer
        wal "#{url}", #{body}
        def call(event) = event
      end

      class Other < RedisIPC::Events::Consumer
        stream "orders", group: "other"
        def call(event) = event
      end
    RUBY
    process = run_process("sh", "-c", "cd \"$1\" && shift && exec \"$@\" 2>&1", "sh", folder, RbConfig.ruby,
                          "-I#{Processes::LIBRARY}", executable, "events", verb, "app.rb", *arguments)
    [process.rest, process.wait.exitstatus]
  end

  # The statements of errors, and of warnings.
  def found(body, **words)
    text, status = command("doctor", body, "--json", **words)
    rows = JSON.parse(text).first["findings"].group_by { |finding| finding["level"] }
    statements = %w[error warning].map { |level| rows.fetch(level, []).flat_map { |finding| finding["statements"] } }
    expect(status).to eq(rows.key?("error") ? 1 : 0)
    [*statements, rows]
  end

  # Runs what was printed.
  def run_all(statements)
    statements.each { |statement| pg.exec(statement) }
  end

  before { pg.exec("CREATE TABLE accounts (id int PRIMARY KEY)") }

  it "says what is missing, and the statements that it prints bring that" do
    pg.exec("CREATE TABLE visits (at int); CREATE TABLE others (id int PRIMARY KEY)")
    body = 'slot: "ipc", tables: %w[accounts visits none]'
    errors, _, rows = found(body)
    expect(errors).to eq(['CREATE PUBLICATION "ipc" FOR TABLE "public"."accounts", "public"."visits", "public"."none"',
                          'ALTER TABLE "public"."visits" REPLICA IDENTITY FULL',
                          "SELECT pg_create_logical_replication_slot('ipc', 'pgoutput')"])
    expect(rows["error"].map { |finding| finding["text"] }).to include(/no table "public"."none" in the database/)
    pg.exec('CREATE PUBLICATION ipc FOR TABLE others WITH (publish = "insert")'.tr('"', "'"))
    body = 'slot: "ipc", tables: %w[accounts visits]'
    2.times do |round|
      errors, warnings, = found(body)
      expect([errors.size, warnings.size]).to eq([[4, 3], [0, 2]][round])
      run_all(errors + warnings.grep(/PUBLICATION/))
    end
    expect(pg.exec("SELECT tablename FROM pg_publication_tables WHERE pubname = 'ipc'").values.flatten)
      .to contain_exactly("accounts", "others", "visits")
    pg.exec("SELECT pg_drop_replication_slot('ipc')")
  end

  it "changes nothing, and prints it for people" do
    text, status = command("doctor", 'slot: "ipc", tables: "accounts"')
    expect(text).to match(%r{\AFeed: #{database_name}/ipc \(postgres.*\)\n  ok       PostgreSQL \d+, database spec_})
    expect(text).to include("  error    there is no replication slot ipc: run this in the database spec_")
    expect(text).to include("\n           SELECT pg_create_logical_replication_slot('ipc', 'pgoutput');\n")
    expect([status, pg.exec("SELECT 1 FROM pg_publication").ntuples, slot]).to eq([1, 0, nil])
  end

  it "knows what the consumer creates itself, and whether it may" do
    body = 'slot: "ipc", tables: "accounts", create: true'
    errors, _, rows = found(body)
    expect([errors, rows["ok"].map { |finding| finding["text"] }])
      .to match([[], include(/no publication "ipc" yet: the consumer creates it/, /no slot ipc yet/)])
    role = "role_#{SecureRandom.hex(4)}"
    pg.exec("CREATE ROLE #{role} LOGIN")
    errors, = found(body, url: wal_url(user: role))
    expect(errors).to eq(["ALTER ROLE \"#{role}\" REPLICATION",
                          "GRANT CREATE ON DATABASE \"#{database_name}\" TO \"#{role}\"",
                          'CREATE PUBLICATION "ipc" FOR TABLE "public"."accounts"',
                          "ALTER TABLE \"public\".\"accounts\" OWNER TO \"#{role}\""])
  ensure
    pg.exec("DROP ROLE IF EXISTS #{role}") if role
  end

  it "knows a server without a logical log, with all slots taken" do
    own = Databases::Cluster.new({ "wal_level" => "replica", "max_replication_slots" => "0" })
    errors, warnings, = found('slot: "ipc", tables: []', url: "postgres://spec@/postgres?host=#{own.folder}")
    expect(errors).to include("ALTER SYSTEM SET wal_level = 'logical'", "ALTER SYSTEM SET max_replication_slots = 10")
    expect(warnings).to eq(["ALTER SYSTEM SET max_slot_wal_keep_size = '10GB'", "SELECT pg_reload_conf()"])
  ensure
    own&.stop
  end

  it "says that a server cannot be reached, without the password" do
    text, status = command("doctor", 'slot: "ipc"', url: "postgres://me:secret@127.0.0.1:#{RedisServer.free_port}/x")
    expect([text, status]).to match([/error    PostgreSQL cannot be reached/, 1])
    expect(text).not_to include("secret")
  end

  it "lists slots, what they keep, and who reads them" do
    make_slot("ipc")
    pg.exec("SELECT pg_create_logical_replication_slot('unused', 'test_decoding')")
    pg.exec("CREATE PUBLICATION ipc FOR TABLE accounts")
    started = consume_from(wal: wal_url, slot: "ipc", tables: "accounts") { nil }
    text, status = command("slots", 'slot: "ipc"', "--json")
    rows = JSON.parse(text).select { |row| row["database"] == database_name }
    expect(rows.map { |row| row.values_at("slot", "plugin", "consumers", "status") })
      .to contain_exactly(["ipc", "pgoutput", ["Feed"], "reserved"], ["unused", "test_decoding", [], "reserved"])
    read = rows.find { |row| row["slot"] == "ipc" }
    expect(read).to include("pid" => slot["active_pid"], "confirmed" => match(%r{\A\h+/\h+\z}), "lag" => Integer,
                            "retained" => Integer)
    # RedisIPC::Admin knows a database, and no consumer.
    slots = RedisIPC::Events::Hosting.slots_at(wal_url).map { |one| [one.slot, one.pid, one.consumers] }
    expect(slots).to include(["ipc", slot["active_pid"].to_i, []], ["unused", nil, []])
    started.stop
    text, = command("slots", 'slot: "ipc"')
    expect(text).to match(/^slot +database +status +pid +confirmed +lag +retained +consumer$/)
    expect(text).to match(%r{^ipc +#{database_name} +reserved +- +\h+/\h+ +[\d.]+ k?B +[\d.]+ k?B +Feed$})
    expect([status, slot("unused")]).to match([0, Hash])
  end

  it "says what is wrong with the command line" do
    text, status = command("drop", 'slot: "ipc"')
    expect([text, status]).to match([/there is no verb "events drop".*Usage: redis_ipc events VERB/m, 2])
    text, status = command("slots", 'slot: "ipc"', "--only", "Other")
    expect([text, status]).to match([/there is no consumer of PostgreSQL's log in app.rb; .*doctor --postgres URL/, 1])
  end
end

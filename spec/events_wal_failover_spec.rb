# frozen_string_literal: true

# A primary of PostgreSQL dies, and its standby takes its place.
RSpec.describe "events of PostgreSQL's log after a failover" do
  let(:got) { Queue.new }
  let(:losses) { Queue.new }
  let(:settings) { { "wal_level" => "logical", "hot_standby_feedback" => "on" } }
  # Where the server has it, the standby gets slots, too.
  let(:copying) { { "sync_replication_slots" => "on" } }

  before { skip Databases::Cluster.missing if Databases::Cluster.missing }

  after do
    stop_consumers
    @clusters&.each(&:stop)
  end

  # Starts a primary and a standby.
  def pair(more = {})
    primary = Databases::Cluster.new(settings)
    primary.query("CREATE TABLE accounts (id int PRIMARY KEY)")
    @clusters = [primary]
    @clusters << Databases::Cluster.new({ **settings, **more }, primary: primary)
  end

  # Consumes from whichever of the servers is the primary. The block runs in the handler.
  def watch(**words)
    kept = got
    hosts = @clusters.map(&:folder).join(",")
    consume_from(wal: "postgres://spec@/postgres?host=#{hosts}", tables: "accounts", slot: "ipc", create: true,
                 on_loss: losses.method(:<<), **words) do |event|
      yield event if block_given?
      kept << event["id"]
    end
  end

  # Kills the primary once the standby has everything, and inserts rows in its place.
  def fail_over(primary, standby, *ids)
    count = "SELECT count(*) AS count FROM accounts"
    eventually { standby.query(count).to_a == primary.query(count).to_a }
    primary.kill
    standby.promote
    eventually { standby.query("SELECT pg_is_in_recovery() AS is").first["is"] == "f" }
    ids.each { |id| standby.query("INSERT INTO accounts VALUES (#{id})") }
  end

  it "tell a loss if the standby has no such slot, and go on with a new one" do
    primary, standby = pair
    watch
    primary.query("INSERT INTO accounts VALUES (1)")
    expect(next_of(got)).to eq(1)
    fail_over(primary, standby)
    expect(next_of(losses)).to have_attributes(cause: :slot_lost, at_most: nil)
    standby.query("INSERT INTO accounts VALUES (2)")
    expect(next_of(got)).to eq(2)
  end

  it "go on where they were if the standby has the slot", timeout: 90 do
    skip "PostgreSQL #{Databases::Cluster.version} copies no slots" if Databases::Cluster.version < 17

    primary, standby = pair(copying)
    held = Queue.new
    watch(failover: true) { |event| held.pop if event["id"] == 2 && held.num_waiting.zero? }
    await_copy(primary, standby)
    got.clear
    primary.query("INSERT INTO accounts VALUES (2)")
    eventually { held.num_waiting == 1 }
    fail_over(primary, standby, 3)
    2.times { held << :go_on }
    ids = []
    ids << next_of(got) until ids.last == 3
    expect([ids.select(&:positive?).uniq, losses.size]).to eq([[2, 3], 0])
  end

  # A copy of the slot can be used once the slot has moved on from where the copy began.
  def await_copy(primary, standby)
    id = 0
    eventually(timeout: 50, every: 0.2) do
      primary.query("INSERT INTO accounts VALUES (#{id -= 1})")
      primary.query("SELECT pg_log_standby_snapshot()")
      standby.query("SELECT 1 FROM pg_replication_slots WHERE synced AND NOT temporary").any?
    end
  end

  it "need a version that copies slots, and say so" do
    skip "PostgreSQL #{Databases::Cluster.version} copies slots" if Databases::Cluster.version >= 17

    @clusters = [Databases::Cluster.new(settings)]
    expect { watch(failover: true) }.to raise_error(RedisIPC::ConfigurationError, /needs PostgreSQL 17 or later/)
  end
end

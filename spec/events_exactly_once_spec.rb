# frozen_string_literal: true

require "json"

# Events with effects in a database. The consumers are real processes, because processes are killed and frozen here, and
# the process of the suite has no ActiveRecord.
RSpec.describe "events with exactly_once", gem: "rails" do
  after { remove_databases }

  # Returns a script that is connected to the database and has a table of effects.
  def with_database(settings, script)
    <<~RUBY + script
      require "active_record"
      require "json"
      require "logger"
      ActiveRecord::Base.establish_connection(#{settings.inspect})
      connection = ActiveRecord::Base.connection
      connection.create_table(:effects) { |t| t.string :key; t.integer :number } unless connection.data_source_exists?(:effects)
      RedisIPC::Events.create_tables(ActiveRecord::Base)
      class Effect < ActiveRecord::Base
        # A marker that kills the process after the commit.
        attr_accessor :deadly
        after_commit { Process.kill(:KILL, Process.pid) && sleep if deadly }
      end
      def say(*words) = $stdout.write(words.join(" ") + "\\n")
    RUBY
  end

  # Starts a process that consumes "orders". Each event has an effect. It runs `handler` before that, and `body` in the
  # class.
  def consuming(settings, handler = "", body: "", effect: "Effect.create!(key: event.key, number: event.data)")
    script = with_database(settings, <<~RUBY)
      require "redis"
      REDIS = Redis.new(url: ENV.fetch("REDIS_URL"))
      class Billing < RedisIPC::Events::Consumer
        stream "orders", group: "billing", from: :beginning
        exactly_once ActiveRecord::Base
        retry_on StandardError, wait: 0.05, attempts: 100
        on_error { |error| say("error", error.message) }
        options redis_options: { url: ENV.fetch("REDIS_URL") }, lease: 0.6, logger: Logger.new(IO::NULL)
        #{body}

        def call(event)
          #{handler}
          #{effect}
        end
      end
      Billing.start
      say("ready")
      while (name = $stdin.gets&.chomp)
        break if name == "stop"

        say(name.start_with?("Events.") ? RedisIPC.module_eval(name) : Billing.stats[name.to_sym])
      end
      Billing.stop
      say("stopped")
    RUBY
    ruby(script).tap { |process| expect(process.line).to eq("ready") }
  end

  # Runs a script to its end, and returns what it prints, parsed as JSON.
  def run_script(settings, script)
    process = ruby("require \"redis_ipc/testing\"\n#{with_database(settings, script)}")
    process.rest.tap { process.wait }.then { |text| JSON.parse(text) }
  end

  def rows(settings, sql)
    return sqlite_rows(settings, sql) if settings[:adapter] == "sqlite3"

    connection = PG.connect(host: settings[:host], user: settings[:username], dbname: settings[:database])
    connection.exec(sql).values
  ensure
    connection&.close
  end

  def sqlite_rows(settings, sql)
    require "sqlite3"
    database = SQLite3::Database.new(settings[:database])
    database.busy_timeout = 5_000
    database.execute(sql)
  ensure
    database&.close
  end

  # Ends all connections, as a restart of the database does.
  def end_connections(settings)
    rows(settings, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity " \
                   "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()")
  end

  def effects(settings)
    rows(settings, "SELECT number FROM effects ORDER BY id").flatten.map(&:to_i)
  end

  def count_of(process, name)
    process.puts(name)
    # Lines with errors may come before it.
    loop { process.line[/\A\d+\z/]&.then { |number| return number.to_i } }
  end

  def stop(process)
    process.puts("stop")
    nil until process.line == "stopped"
  end

  def publish_numbers(numbers, key: 7)
    events = numbers.map { |number| { data: number, key: key } }
    RedisIPC::Events.publish_all("orders", events, redis_options: redis_options)
  end

  it "distinguishes events of two partitions with the same position" do
    settings = sqlite
    process = consuming(settings, body: "order :key, partitions: 2")
    2.times { |number| redis.xadd("orders:#{number}", { "key" => "k", "data" => number.to_s }, id: "7-0") }
    eventually { effects(settings).sort == [0, 1] }
    ids = rows(settings, "SELECT event_id FROM redis_ipc_processed ORDER BY event_id").flatten
    expect(ids).to eq(%w[0/7-0 1/7-0])
    stop(process)
  end

  { sqlite: ":none", postgresql: ":key" }.each do |kind, order|
    it "have one effect though a process dies between the commit and the acknowledgement (#{kind}, #{order})" do
      settings = database(kind)
      deadly = "Effect.create!(key: event.key, number: event.data, deadly: event.data == 3 && !event.redelivered?)"
      first = consuming(settings, body: "order #{order}", effect: deadly)
      publish_numbers(0..3)
      expect(first.wait).to be_signaled
      expect(effects(settings)).to include(3)
      second = consuming(settings, body: "order #{order}")
      end_connections(settings) if kind == :postgresql
      publish_numbers(4..6)
      eventually { effects(settings).size == 7 }
      eventually { count_of(second, "skipped") >= 1 && count_of(second, "held").zero? }
      expect(effects(settings)).to match_array(0..6)
    end
  end

  { "one by one" => "", "in batches" => "\nbatch size: 2, within: 10" }.each do |way, batch|
    it "are rolled back if their lane has a new owner, which handles them in order (#{way})" do
      settings = database(:postgresql)
      handler = "if (event = [*event].first).data.zero?\n say('begun')\n REDIS.blpop('gate', timeout: 30)\n end"
      effect = "[*event].each { |one| Effect.create!(key: one.key, number: one.data) }"
      publish_numbers(0..3)
      body = "order :key\nconcurrency threads: 1#{batch}"
      frozen = consuming(settings, "all = event\n#{handler}\nevent = all", effect: effect, body: body)
      expect(frozen.line).to eq("begun")
      frozen.kill(:STOP)
      lane = "SELECT epoch FROM redis_ipc_lanes"
      before = rows(settings, lane)
      other = consuming(settings, effect: effect, body: "order :key#{batch}")
      # The new owner raises the epoch, and then waits, because what the frozen process has written is not yet decided.
      eventually { rows(settings, lane) != before }
      redis.rpush("gate", "go on")
      frozen.kill(:CONT)
      eventually { effects(settings).size == 4 && count_of(other, "held").zero? }
      expect(effects(settings)).to eq([0, 1, 2, 3])
      eventually { count_of(frozen, "refused") == (batch.empty? ? 1 : 2) }
      expect([frozen, other].sum { |process| count_of(process, "dead_lettered") }).to eq(0)
    end
  end

  it "are not handled by a frozen process that wakes up after another one has handled them" do
    settings = database(:sqlite)
    frozen = consuming(settings, body: <<~RUBY)
      order :key
      concurrency threads: 1
      around_event do |event, handler|
        if event.data.zero?
          say("begun")
          REDIS.blpop("gate", timeout: 30)
        end
        handler.call
      end
    RUBY
    publish_numbers(0..4)
    expect(frozen.line).to eq("begun")
    frozen.kill(:STOP)
    consuming(settings, body: "order :key")
    eventually { effects(settings).size == 5 }
    redis.rpush("gate", "go on")
    frozen.kill(:CONT)
    # The event is skipped, or already refused because the epoch is too low.
    eventually { count_of(frozen, "skipped") + count_of(frozen, "refused") == 1 }
    expect(effects(settings)).to eq([0, 1, 2, 3, 4])
  end

  it "are not handled again when Redis has forgotten that they were" do
    settings = database(:sqlite)
    first = consuming(settings, body: "order :key")
    publish_numbers(0..9)
    eventually { effects(settings).size == 10 }
    stop(first)
    # This is the state after a failover that has lost the checkpoints.
    checkpoints = redis.hkeys("orders:events:billing").grep(/\Ac:/)
    redis.hdel("orders:events:billing", checkpoints)
    second = consuming(settings, body: "order :key")
    publish_numbers([10])
    eventually { effects(settings).size == 11 }
    expect(effects(settings)).to eq((0..10).to_a)
    expect(count_of(second, "skipped")).to eq(10)
    redis.flushall
    publish_numbers([11])
    eventually { effects(settings).last == 11 }
    expect(effects(settings)).to eq((0..11).to_a)
  end

  it "are handled once in batches, and in worker processes that die" do
    settings = database(:sqlite)
    script = "flag = #{File.join(File.dirname(settings[:database]), "flag").inspect}\n" \
             "deadly = !File.exist?(flag) && events.any? { |event| event.data == 3 }\n" \
             "File.write(flag, '') if deadly\n"
    effect = "events.each { |event| Effect.create!(number: event.data, deadly: deadly) }"
    body = "batch size: 3, within: 0.05\nconcurrency processes: 2"
    worker = consuming(settings, "events = event\n#{script}", effect: effect, body: body)
    publish_numbers(0..9)
    eventually { effects(settings).size == 10 && count_of(worker, "held").zero? }
    expect(effects(settings)).to match_array(0..9)
    expect(count_of(worker, "skipped")).to be_between(1, 3)
    # This is the state after a failover that has lost acknowledgements.
    redis.xgroup(:setid, "orders", "billing", "0")
    publish_numbers([10])
    eventually { effects(settings).size == 11 && count_of(worker, "held").zero? }
    expect(effects(settings)).to match_array(0..10)
    expect(count_of(worker, "skipped")).to be_between(11, 13)
  end

  it "keep rows until no earlier event can be delivered again" do
    settings = database(:sqlite)
    script = with_database(settings, <<~RUBY)
      class Billing < RedisIPC::Events::Consumer
        stream "orders", group: "billing", from: :beginning
        exactly_once ActiveRecord::Base, keep: 0
        retry_on IOError, wait: 600
        options redis_options: { url: ENV.fetch("REDIS_URL") }, logger: Logger.new(IO::NULL)
        def call(event) = (raise IOError, "not now" if event["n"] == "2")
      end
      state = RedisIPC::Events.const_get(:ConsumerState).of(Billing)
      pruner = RedisIPC::Events.const_get(:ExactlyOnce).const_get(:Pruner)
      pruner.send(:remove_const, :EVERY)
      pruner.const_set(:EVERY, 0.02)
      Billing.start
      say("ready")
      $stdin.gets
    RUBY
    (1..4).each { |number| redis.xadd("orders", { n: number }, id: "#{number}-0") }
    process = ruby(script)
    expect(process.line).to eq("ready")
    ids = -> { rows(settings, "SELECT event_id FROM redis_ipc_processed ORDER BY event_id").flatten }
    eventually { ids.call == %w[3-0 4-0] }
    redis.xack("orders", "billing", "2-0")
    eventually { ids.call == %w[4-0] }
  end

  # Checks handlers without Redis, on both databases.
  semantics = <<~'RUBY'
    class Other < ActiveRecord::Base
      self.table_name = "effects"
      after_commit { LATER << number }
    end
    LATER = []
    TOLD = []
    class Billing < RedisIPC::Events::Consumer
      stream "orders", group: "billing"
      exactly_once ActiveRecord::Base
      discard_on KeyError
      retry_on IOError, wait: 3
      on_error { |error| TOLD << error.message }
      options logger: Logger.new(IO::NULL)

      def call(event)
        Effect.create!(number: event["n"])
        case event["then"]
        when "raise" then raise IOError, "no"
        when "discard" then raise KeyError, "no"
        when "rollback" then raise ActiveRecord::Rollback
        when "nested" then Effect.transaction(requires_new: true) { Effect.create!(number: 0) && raise(ActiveRecord::Rollback) }
        when "throw" then throw :out
        when "fail" then event.fail!("bad")
        when "later" then Other.create!(number: 0)
        end
      end
    end
    class Search < RedisIPC::Events::Consumer
      stream "orders", group: "search"
      batch size: 4
      exactly_once ActiveRecord::Base
      retry_on IOError, wait: 3
      on_error { nil }
      options logger: Logger.new(IO::NULL), attempts: 1

      def call(events)
        SIZES << events.size
        raise "bad" if events.any? { |event| event["n"] == 13 }

        events.each { |event| event["n"] == 14 ? event.fail!(IOError.new("no")) : Effect.create!(number: event["n"]) }
      end
    end
    SIZES = []
    T = RedisIPC::Testing
    def numbers = Effect.order(:id).pluck(:number).tap { Effect.delete_all }
    def records = Effect.connection.select_values("SELECT count(*) FROM redis_ipc_processed").first.to_i
                        .tap { Effect.connection.execute("DELETE FROM redis_ipc_processed") }
    def outcome(then_what = nil, **options)
      result = catch(:out) { T.deliver_event(Billing, "x", { n: 1, then: then_what }, **options) }
      name = %i[skipped done retried discarded dead].find { |one| result.public_send(:"#{one}?") } if result
      [name, numbers, records]
    end
  RUBY

  %i[sqlite postgresql].each do |kind|
    it "roll back, are discarded, fail and nest as handlers want (#{kind})" do
      found = run_script(database(kind), semantics + <<~RUBY)
        found = {}
        found[:done] = outcome
        found[:again] = outcome(duplicates: 2)
        found[:raised] = outcome("raise")
        found[:discarded] = outcome("discard")
        found[:rolled_back] = outcome("rollback")
        found[:nested] = outcome("nested")
        found[:thrown] = outcome("throw")
        found[:failed] = outcome("fail")
        found[:later] = [outcome("later"), LATER]
        found[:in_a_transaction] = Effect.transaction { outcome }
        found[:told] = T.deliveries.last.error.message[/is in a transaction already/]
        # A test that is rolled back at its end has such a transaction.
        Effect.connection.begin_transaction(joinable: false)
        found[:in_a_test] = outcome
        found[:failed_in_a_test] = outcome("raise")
        Effect.connection.rollback_transaction
        found[:after_the_test] = [numbers, records]
        events = [1, 14, 13, 2].map { |number| { data: { n: number } } }
        results = T.deliver_events(Search, events)
        found[:batch] = [results.map(&:done?), results.count(&:dead?), SIZES, numbers, records]
        puts found.to_json
      RUBY
      expect(found).to eq(
        "done" => ["done", [1], 1], "again" => ["skipped", [1], 1], "raised" => ["retried", [], 0],
        "discarded" => ["discarded", [], 1], "rolled_back" => ["done", [], 1], "nested" => ["done", [1], 1],
        "thrown" => ["retried", [], 0], "failed" => ["retried", [], 0], "later" => [["done", [1, 0], 1], [0]],
        "in_a_transaction" => ["retried", [], 0], "told" => "is in a transaction already",
        "in_a_test" => ["done", [1], 1], "failed_in_a_test" => ["retried", [], 0], "after_the_test" => [[], 0],
        "batch" => [[true, false, false, true], 2, [4, 2, 2, 1, 1], [1, 2], 2]
      )
    end
  end

  it "wait for their database, while other consumers go on" do
    script = with_database(database(:sqlite), <<~RUBY)
      class Away < ActiveRecord::Base
        self.abstract_class = true
        # A folder is not a database.
        establish_connection(adapter: "sqlite3", database: Dir.pwd)
      end
      class Events < RedisIPC::Events::Consumer
        options redis_options: { url: ENV.fetch("REDIS_URL") }
        def call(_event) = nil
      end
      Billing = Class.new(Events).stream("orders", group: "billing").exactly_once(Away)
      Search = Class.new(Events).stream("orders", group: "search")
      RedisIPC::Events::Hosting.check(Billing)
      errors = RedisIPC.const_get(:PatientStart).each([Billing, Search], ->(_) { :redis }, &:start)
      say(errors.map(&:class), Billing.running?, Search.running?)
    RUBY
    expect(ruby(script).line).to eq("RedisIPC::DatabaseUnreachableError false true")
  end

  it "are handled once more by a replay, which leaves no rows" do
    settings = database(:sqlite)
    worker = consuming(settings, body: "order :key")
    publish_numbers(0..2)
    eventually { effects(settings).size == 3 }
    worker.puts("Events.replay(Billing, from: :beginning, group: 'shadow').wait")
    eventually { effects(settings).size == 6 }
    expect(worker.line).to eq("true")
    expect(effects(settings)).to eq([0, 1, 2, 0, 1, 2])
    names = "SELECT DISTINCT consumer FROM redis_ipc_processed UNION SELECT consumer FROM redis_ipc_lanes"
    expect(rows(settings, names).flatten).to eq(["orders/billing"])
  end

  it "report at the start what is missing or wrong" do
    found = run_script(database(:sqlite), <<~RUBY)
      connection.drop_table(:redis_ipc_lanes)
      options = { stream: "s", group: "g", redis_options: { url: "redis://127.0.0.1:1/0" } }
      given = [ActiveRecord::Base, String, [ActiveRecord::Base, { kept: 1 }], [ActiveRecord::Base, { keep: -1 }]]
      messages = given.map do |one|
        RedisIPC::Events.consume(**options, exactly_once: one) { nil }
      rescue RedisIPC::ConfigurationError => e
        e.message
      end
      puts messages.to_json
    RUBY
    expect(found).to match([/needs the table redis_ipc_lanes: run `rails generate redis_ipc:exactly_once`/,
                            /needs a class of Active Record/, /unknown option :kept/, /keep: of exactly_once/])
  end
end

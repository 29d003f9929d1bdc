# frozen_string_literal: true

require "open3"

# These examples run in processes of their own, because the mode is set for the whole process.
RSpec.describe "testing help for events" do
  consumers = <<~RUBY
    class Billing < RedisIPC::Events::Consumer
      stream "orders", group: "billing"
      retry_on IOError, wait: 3, attempts: 2
      discard_on KeyError
      on_error { |error| TOLD << error.message }
      resource { [] }
      around_event { |event, handler| handler.call }

      on("order.created") do |event|
        raise Object.const_get(event["raise"]), "no" if event["raise"]

        SEEN << [event.data, event.key, event.attempt, event.redelivered?, (resource << 1).size]
      end
    end

    class Search < RedisIPC::Events::Consumer
      stream "orders", group: "search"
      batch size: 2

      def call(events)
        SEEN << events.map(&:data)
        events.each { |event| event.fail!("bad") if event.data == { "bad" => true } }
      end
    end

    class Alarms < RedisIPC::Events::Consumer
      stream "sensors", group: "alarms", json: "payload", type: "event"
      on_error { nil }
      on("too_hot") { |event| SEEN << event["room"] }
    end
    SEEN = []
    TOLD = []
  RUBY

  def run(code, *command)
    without_redis(code) do |environment, file, folder|
      output, warnings, status = Open3.capture3(environment, *command, file, chdir: folder)
      expect(status).to be_success, output + warnings
      output
    end
  end

  it "delivers changes of PostgreSQL to consumers of its log" do
    output = run(<<~RUBY, RbConfig.ruby)
      require "redis_ipc/testing"
      class Accounts < RedisIPC::Events::Consumer
        wal "postgres://me@nowhere/app", slot: "ipc"
        options attempts: 1
        on_error { nil }
        on("accounts.update") { |event| p event.key, event.data.to_a, event.metadata[:table] }
        def call(event) = p([event.operation, event.type, event.key, event.data, event.old.to_a])
        on_loss { |loss| p [loss.cause, loss.source] }
      end
      test = RedisIPC::Testing
      p test.deliver_event(Accounts, "accounts.update", { id: 7, name: "ä", ok: true, at: Time.at(0), doc: [1] }).done?
      test.deliver_event(Accounts, "billing.rows.delete", { mail: "a", n: 1 }, key: "mail")
      p test.checkpointed?(Accounts, test.deliver_event(Accounts, "mail", "hello"))
      test.lose_events(Accounts)
      begin
        test.lose_events(Accounts, cause: :disconnected)
      rescue ArgumentError => e
        puts e.message
      end
    RUBY
    expect(output).to eq(<<~TEXT)
      "7"
      [["id", 7], ["name", "ä"], ["ok", true], ["at", 1970-01-01 00:00:00 UTC], ["doc", [1]]]
      "accounts"
      true
      [:delete, "billing.rows.delete", "a", nil, [["mail", "a"]]]
      [:message, "mail", nil, "hello", []]
      true
      [:slot_lost, "app/ipc"]
      cause must be one of [:slot_lost], got :disconnected
    TEXT
  end

  it "delivers through JSON, rules and middleware, and returns the result" do
    output = run(<<~RUBY, RbConfig.ruby)
      require "json"
      require "redis_ipc/testing"
      #{consumers}
      T = RedisIPC::Testing
      def outcome(result)
        %i[done retried discarded dead].select { |name| result.public_send(:"\#{name}?") } + [result.wait, result.error&.class]
      end
      p outcome(T.deliver_event(Billing, "order.created", order_id: 7))
      p outcome(T.deliver_event(Billing, :"order.created", { order_id: :x }, key: 7, duplicates: 2, attempt: 3))
      puts SEEN.to_json, T.deliveries.map { |one| one.event.attempt }.to_json
      p outcome(T.deliver_event(Billing, "order.created", raise: "IOError"))
      p outcome(T.deliver_event(Billing, "order.created", raise: "IOError", duplicates: 1))
      p outcome(T.deliver_event(Billing, "order.created", raise: "KeyError"))
      p outcome(T.deliver_event(Billing, "order.created", raise: "NoMemoryError", attempt: 5))
      p outcome(T.deliver_event(Billing, "order.created", attempt: 6))
      p outcome(T.deliver_event(Billing, "other"))
      p TOLD
      p outcome(T.deliver_event(Alarms, fields: { event: "too_hot", payload: '{"room":"attic"}', seen: 1 }))
      p outcome(T.deliver_event(Alarms, fields: { event: "too_hot", payload: "{" }))
      p SEEN.last, T.deliver_events(Search, [{ data: 1 }, { type: "x", data: { bad: true } }, { fields: { a: 1 } }]).map { |one| outcome(one) }
      puts SEEN.last(2).to_json
      [-> { T.deliver_event(Billing, "a", { b: 1 }, c: 1) }, -> { T.deliver_event(Billing, "a", fields: { b: 1 }) },
       -> { T.deliver_event(String, "a") }, -> { T.deliver_event(Billing, attempt: 0) }, -> { T.deliver_event(Billing, fields: 1) },
       -> { T.deliver_events(Billing, [{ data: 1, kee: 2 }]) }, -> { T.deliver_event(Billing, duplicates: nil) },
       -> { T.deliver_event(Billing, "a", Float::NAN) }, -> { T.deliver_event(Class.new(RedisIPC::Events::Consumer), "a") }].each do |wrong|
        wrong.call
      rescue ArgumentError, RedisIPC::Error => e
        puts e.class, e.message[/\\A.{20}/]
      end
    RUBY
    expect(output).to eq(<<~TEXT)
      [:done, nil, nil]
      [:done, nil, nil]
      [[{"order_id":7},null,1,false,1],[{"order_id":"x"},"7",3,true,1],[{"order_id":"x"},"7",4,true,1],[{"order_id":"x"},"7",5,true,1]]
      [1,3,4,5]
      [:retried, 3.0, IOError]
      [:dead, nil, IOError]
      [:discarded, nil, KeyError]
      [:dead, nil, NoMemoryError]
      [:dead, nil, RedisIPC::DeadLetteredError]
      [:done, nil, nil]
      ["no", "no", "delivered 5 times without being done: each process with it died, hung or could not acknowledge it"]
      [:done, nil, nil]
      [:dead, nil, RedisIPC::MalformedEntryError]
      "attic"
      [[:done, nil, nil], [:retried, #{output[/retried, (1\.\d+)/, 1]}, RedisIPC::EventFailedError], [:done, nil, nil]]
      [[1,{"bad":true}],[{"a":"1"}]]
      ArgumentError
      give the data as an\s
      ArgumentError
      fields: is a whole e
      ArgumentError
      a consumer is a subc
      ArgumentError
      attempt must be a wh
      ArgumentError
      fields: must be a Ha
      ArgumentError
      an event has data, t
      ArgumentError
      duplicates must be a
      RedisIPC::ContentError
      the content holds Na
      RedisIPC::ConfigurationError
      an anonymous class h
    TEXT
  end

  it "records what is published, starts consumers without Redis, and in inline mode runs them" do
    output = run(<<~RUBY, RbConfig.ruby)
      require "json"
      require "redis_ipc/testing"
      #{consumers}
      T = RedisIPC::Testing
      T.begin!
      T.fake!
      ids = RedisIPC::Events.publish_all("orders", [{ data: { a: 1 }, type: "order.created", key: 7 }, { data: 2 }], maxlen: 5)
      puts T.published.map { |event| [event.stream, event.type, event.key, event.data, event.fields] }.to_json
      p ids == T.published.map(&:position)
      p SEEN, ids.map { |id| id.match?(/\\A\\d+-\\d+\\z/) }
      begin
        RedisIPC::Events.publish("orders", 1, maxlen: -1)
      rescue ArgumentError => e
        puts e.message
      end
      begin
        Billing.lag
      rescue RedisIPC::NotConnectedError => e
        puts e.message
      end
      Billing.start(attempts: 1, redis_options: { host: "nowhere" })
      p Billing.running?, Billing.lag, Billing.pause.paused?, Billing.resume.paused?
      log = RedisIPC::Events.consume(stream: "orders", group: "log", discard_on: EOFError) { |event| event["eof"] ? raise(EOFError) : SEEN << :log }
      p T.deliver_event(log, "a").done?
      T.inline! { RedisIPC::Events.publish("orders", { a: 1 }, type: "order.created", key: 7) }
      puts SEEN.to_json
      T.inline! { RedisIPC::Events.publish("orders", { eof: true }) }
      begin
        T.inline! { RedisIPC::Events.publish("orders", { raise: "ArgumentError" }, type: "order.created") }
      rescue ArgumentError => e
        puts "raised \#{e.message}"
      end
      letter = Billing.dead_letters.first
      p Billing.stats.values_at(:taken, :acknowledged, :dead_lettered), letter.reason, letter.type, letter.attempts
      p letter.retry, letter.retry, Billing.dead_letters.size, Billing.dead_letters.map(&:discard), Billing.dead_letters.empty?
      p Billing.stop.running?, log.running?
      T.end!
      p T.published, T.deliveries, log.running?
    RUBY
    expect(output).to eq(<<~TEXT)
      [["orders","order.created","7",{"a":1},{"type":"order.created","key":"7","data":"{\\"a\\":1}"}],["orders",null,null,2,{"data":"2"}]]
      true
      []
      [true, true]
      maxlen must be a whole number of entries, got -1
      Billing is not started: call start
      true
      0
      true
      false
      true
      ["log",[{"a":1},"7",1,false,1],"log",[{"a":1}]]
      raised no
      [3, 2, 1]
      "ArgumentError: no"
      "order.created"
      1
      true
      false
      1
      [true]
      true
      false
      true
      []
      []
      false
    TEXT
  end

  it "has matchers for RSpec, lets an expectation in a handler fail the test, and leaves nothing registered" do
    output = run(<<~RUBY, "rspec", "--order", "defined", "--no-color")
      require "redis_ipc/rspec"
      #{consumers}
      RSpec.describe Billing do
        def publish = RedisIPC::Events.publish("orders", { order_id: 7, tags: [{ a: 1 }] }, type: "order.created", key: 7)

        it "matches" do
          expect { publish }.to have_published_event("order.created").to("orders").with(order_id: 7, tags: [{ a: 1 }]).with_key("7").once
          expect { publish }.to have_published_event(:"order.created").with("order_id" => 7, "tags" => [{ "a" => 1 }])
          expect { publish }.to have_published_event.with(hash_including(order_id: 7)).with_key(7)
          expect(RedisIPC::Testing).to have_published_event("order.created").times(3)
          expect { publish }.not_to have_published_event("order.created").to("bills")
          expect { publish }.not_to have_published_event("order.created").with_key("8")
          expect { publish }.not_to have_published_event("order.created").with(order_id: 7)
          expect(deliver_event(Billing, "order.created", order_id: 7)).to be_done
          expect(deliver_events(Search, [{ data: 1 }])).to all(be_done)
          expect { expect { publish }.to have_published_event("order.paid").to("orders").with(1).with_key("x").twice }
            .to raise_error(/expected to have published the event order.paid to orders with 1 with the key x 2 times; published: order.created with key 7 to orders: {"order_id"/)
        end

        it "fails by an expectation" do
          Billing.around_event { |event, handler| expect(event["order_id"]).to eq(8) }
          Billing.on_error { raise "never" }
          expect { deliver_event(Billing, "order.created", order_id: 7) }.to raise_error(RSpec::Expectations::ExpectationNotMetError)
          Search.around_event { |events, handler| expect(events.size).to eq(3) }
          expect { deliver_event(Search, "order.created", order_id: 7) }.to raise_error(RSpec::Expectations::ExpectationNotMetError)
          RedisIPC::Testing.inline!
          expect { publish }.to raise_error(RSpec::Expectations::ExpectationNotMetError)
        end

        it "has forgotten" do
          expect(RedisIPC::Testing.published).to be_empty
          expect(deliver_event(Billing, "order.created", order_id: 7)).to be_done
          expect(deliver_event(Billing, "order.created", { raise: "IOError" }, attempt: 2)).to be_dead
          expect(TOLD).to eq(["no"])
        end

        it "is real", redis_ipc: :disable do
          expect { publish }.to raise_error(RedisIPC::ConnectionError)
          expect(deliver_event(Billing, "order.created", order_id: 7)).to be_done
        end
      end
    RUBY
    expect(output).to include("4 examples, 0 failures")
  end

  it "reports a loss to a consumer the way a real one is reported" do
    output = run(<<~RUBY, RbConfig.ruby)
      require "json"
      require "redis_ipc/testing"
      #{consumers}
      Billing.on_loss { |loss| loss.at_most == 13 ? raise("unlucky") : SEEN << loss.to_h.except("node") }
      T = RedisIPC::Testing
      T.begin!
      T.fake!
      told = []
      RedisIPC.subscribe(:loss) { |one| told << one.payload[:loss].at_most }
      loss = T.lose_events(Billing, at_most: 12, between: Time.at(1)..Time.at(2))
      p loss.class, loss.frozen?, loss.exact?
      puts SEEN.to_json
      p T.lose_events(Billing, at_most: 13, exact: true, cause: :flushed).since, TOLD, told
      Billing.start
      p Billing.stats[:losses]
      [{ cause: :unknown }, { at_most: -1 }, { exact: true }, { exact: 1 }, { between: 1..2 }, { between: Time.at(1).. }].each do |wrong|
        T.lose_events(Billing, **wrong)
      rescue ArgumentError => e
        puts e.message[/\\A.{24}/]
      end
    RUBY
    expect(output).to eq(<<~TEXT)
      RedisIPC::Loss
      true
      false
      [{"source":"orders","cause":"trimmed","since":"1970-01-01T00:00:01.000Z","until":"1970-01-01T00:00:02.000Z","at_most":12,"exact":false}]
      nil
      ["unlucky"]
      [12, 13]
      2
      cause must be one of [:t
      at_most must be a whole\s
      an exact number needs at
      exact must be true or fa
      between must be a range\s
      between must be a range\s
    TEXT
  end

  it "delivers in another order, and repeatedly, as far as the consumer's order allows" do
    output = run(<<~RUBY, RbConfig.ruby)
      require "redis_ipc/testing"
      #{consumers}
      class Ledger < RedisIPC::Events::Consumer
        stream "orders", group: "ledger"
        order :key, by: "order_id"
        def call(event) = SEEN << [event.key, event["n"], event.attempt]
      end
      class Log < Ledger
        stream "orders", group: "log"
        order :source
      end
      class Any < Ledger
        stream "orders", group: "any"
        order :none
        batch size: 2
        def call(events) = SEEN << events.map { |event| [event["n"], event.attempt] }
      end
      T = RedisIPC::Testing
      events = [[1, 7], [2, 8], [3, 7], [4, nil], [5, 8]].map { |n, id| { data: { n: n, order_id: id }.compact } }
      deliver = ->(to, **options) { SEEN.clear && T.deliver_events(to, events, **options).map { |one| one.event["n"] } }
      p deliver.call(Ledger, reorder: true), SEEN
      p deliver.call(Any, reorder: true), SEEN
      p deliver.call(Any, duplicates: 1), SEEN
      begin
        deliver.call(Log, reorder: true)
      rescue ArgumentError => e
        puts e.message, SEEN.inspect
      end
    RUBY
    expect(output).to eq(<<~TEXT)
      [1, 2, 3, 4, 5]
      [[nil, 4, 1], ["8", 2, 1], ["8", 5, 1], ["7", 1, 1], ["7", 3, 1]]
      [1, 2, 3, 4, 5]
      [[[5, 1], [4, 1]], [[3, 1], [2, 1]], [[1, 1]]]
      [1, 2, 3, 4, 5]
      [[[1, 1], [2, 1]], [[3, 1], [4, 1]], [[5, 1]], [[1, 2], [2, 2]], [[3, 2], [4, 2]], [[5, 2]]]
      Log has the order :source, so its events come in no other order
      []
    TEXT
  end

  it "knows the position of a consumer, and what is open" do
    output = run(<<~RUBY, "rspec", "--no-color")
      require "redis_ipc/rspec"
      #{consumers}
      class Held < Billing
        stream "orders", group: "held"
        order :key, then: :hold_key
      end
      RSpec.describe Billing do
        def deliver(consumer = described_class, raises: nil, **options)
          deliver_event(consumer, "order.created", { raise: raises }.compact, **options)
        end

        it "is nowhere at first" do
          expect(described_class).not_to have_checkpointed
          expect(described_class).not_to have_checkpointed("1-1")
        end

        it "has checkpointed what is done, discarded, or given up on, in the order of the stream" do
          done = deliver
          expect(described_class).to have_checkpointed
          tried = deliver(raises: "IOError")
          later = deliver(raises: "KeyError")
          expect(described_class).to have_checkpointed(done)
          expect(described_class).not_to have_checkpointed(tried)
          expect(described_class).not_to have_checkpointed(later.event.position)
          expect { expect(described_class).to have_checkpointed(later.event) }
            .to raise_error(/expected Billing to have checkpointed up to .*; open: .*retried in 3.0 s: IOError: no/)
          expect { expect(described_class).not_to have_checkpointed(done) }.to raise_error(/expected Billing not to have/)
          described_class.start
          expect(described_class.checkpoint.position).to eq(later.event.position)
        end

        it "has checkpointed what was done by another try, and what is a dead letter" do
          deliver(raises: "IOError", duplicates: 1)
          expect(described_class).to have_checkpointed
        end

        it "has not checkpointed a dead letter that holds its key, until that is discarded" do
          dead = deliver(Held, raises: "IOError", attempt: 2, key: "7")
          done = deliver(Held, key: "8")
          expect(Held).not_to have_checkpointed(done)
          Held.start
          expect(Held.checkpoint.position).to eq("0-0")
          Held.dead_letters.each(&:discard)
          expect(Held).to have_checkpointed(dead).and have_checkpointed(done)
          expect(Held.checkpoint.position).to eq(done.event.position)
        end

        it "takes an event or a position, of a consumer" do
          expect { expect(described_class).to have_checkpointed(7) }.to raise_error(ArgumentError, /position is needed, got 7/)
          expect { expect(String).to have_checkpointed }.to raise_error(ArgumentError, /a consumer is/)
        end
      end
    RUBY
    expect(output).to include("5 examples, 0 failures")
  end

  it "has assertions for Minitest" do
    output = run(<<~RUBY, RbConfig.ruby)
      require "minitest/autorun"
      require "redis_ipc/minitest"
      #{consumers}
      class BillingTest < Minitest::Test
        def publish = RedisIPC::Events.publish("orders", { order_id: 7 }, type: "order.created", key: 7)

        2.times do |number|
          define_method("test_asserts_\#{number}") do
            assert_empty RedisIPC::Testing.published
            id = assert_published_event("order.created", to: "orders", with: { order_id: 7 }, key: 7, times: 1) { publish }
            assert_match(/-/, id)
            refute_published_event("order.paid") { publish }
            assert_published_event times: 2
            error = assert_raises(Minitest::Assertion) { refute_published_event(to: :orders) }
            assert_match(/expected an event to orders to be published; published: \\[order.created/, error.message)
            done = deliver_event(Billing, "order.created", order_id: 7)
            assert_predicate done, :done?
            assert_checkpointed Billing
            refute_checkpointed Billing, "9999999999999-0"
            deliver_event(Billing, "order.created", raise: "IOError")
            assert_checkpointed Billing, done
            refute_checkpointed Billing
            error = assert_raises(Minitest::Assertion) { assert_checkpointed(Billing) }
            assert_match(/expected Billing to have checkpointed; open: .*retried/, error.message)
            assert_equal :trimmed, lose_events(Billing, at_most: 1).cause
          end
        end
      end
    RUBY
    expect(output).to include("2 runs", "0 failures, 0 errors")
  end

  it "replaces everything of the core that consumers use" do
    output = run(<<~RUBY, RbConfig.ruby)
      require "redis_ipc/testing"
      native = RedisIPC.const_get(:Native)
      fake = RedisIPC::Testing.const_get(:EventEngine)
      # Sessions, executors and forks call these methods, and none of those exist here.
      unused = /\\A(take|next_report|wait_until_done|quiet|close|connected\\?|consumer_name|inherited_sockets|paused\\?|details|note_frame)/
      stored = RedisIPC::Events.const_get(:StoredEvent)
      pairs = { native::StreamEvent => stored, native::EventConsumer => fake }
      p pairs.map { |real, stand_in| (real.instance_methods(false) - stand_in.instance_methods).grep_v(unused) }
    RUBY
    expect(output).to eq("[[], []]\n")
  end

  it "publishes what a consumer of PostgreSQL's log forwards" do
    output = run(<<~RUBY, RbConfig.ruby)
      require "redis_ipc/testing"
      class Feed < RedisIPC::Events::Consumer
        wal "postgres://me@nowhere/app", slot: "ipc"
        forward to: "orders", key: "shop", type: ->(event) { "order.\#{event.operation}" }
      end
      class Plain < RedisIPC::Events::Consumer
        wal "postgres://me@nowhere/app", slot: "plain"
        forward to: "others", partitions: 4
      end
      class Billing < RedisIPC::Events::Consumer
        stream "orders", group: "billing"
        def call(event) = p([event.operation, event.type, event.key, event.data, event.transaction.index])
      end
      RedisIPC::Testing.inline!
      p RedisIPC::Testing.deliver_event(Feed, "orders.insert", { id: 7, shop: "x" }).done?
      p RedisIPC::Testing.deliver_event(Plain, "orders.delete", { id: 7 }).done?
      p RedisIPC::Testing.published.map { |event| [event.stream, event.type, event.key, event.data] }
    RUBY
    expect(output).to eq(<<~TEXT)
      [:insert, "order.insert", "x", {"id"=>7, "shop"=>"x"}, 0]
      true
      true
      [["orders", "order.insert", "x", {"id"=>7, "shop"=>"x"}], ["others", "orders.delete", "7", nil]]
    TEXT
  end

  it "delivers transactions of PostgreSQL's log, and says what became of each change" do
    output = run(<<~RUBY, RbConfig.ruby)
      require "logger"
      require "redis_ipc/testing"
      module Minitest
        class Assertion < RuntimeError; end
      end
      class Accounts < RedisIPC::Events::Consumer
        wal "postgres://me@nowhere/app", slot: "ipc"
        options logger: Logger.new(IO::NULL)
        discard_on KeyError
        on_transaction do |transaction|
          raise KeyError, "discarded" if transaction.size == 2
          raise "tried again" if transaction.size == 3
          raise Minitest::Assertion, "a failure of the test" if transaction.size == 4
        end
      end
      def deliver(count)
        changes = Array.new(count) { |id| { type: "accounts.insert", data: { id: id } } }
        RedisIPC::Testing.deliver_events(Accounts, changes).map { |one| [one.done?, one.discarded?, one.retried?] }
      end
      p deliver(1), deliver(2), deliver(3)
      begin
        deliver(4)
      rescue Minitest::Assertion => e
        puts e.message
      end
    RUBY
    expect(output).to eq(<<~TEXT)
      [[true, false, false]]
      [[false, true, false], [false, true, false]]
      [[false, false, true], [false, false, true], [false, false, true]]
      a failure of the test
    TEXT
  end

  it "knows partitions" do
    output = run(<<~RUBY, RbConfig.ruby)
      require "json"
      require "redis_ipc/testing"
      class Ledger < RedisIPC::Events::Consumer
        stream "orders", group: "ledger"
        order :key, partitions: 16
        def call(event) = SEEN << [event.key, event.source, event.metadata[:partition]]
      end
      class Copy < RedisIPC::Events::Consumer
        stream "orders", group: "copy"
        order :key
        def call(event) = SEEN << [event.key, event.source, event.metadata[:partition]]
      end
      SEEN = []
      RedisIPC::Testing.deliver_event(Ledger, "order.paid", { a: 1 }, key: 7)
      RedisIPC::Testing.inline!
      RedisIPC::Events.publish("orders", 1, key: "x", partitions: 16)
      RedisIPC::Events.publish("orders", 1, key: "x")
      puts JSON.generate([SEEN, RedisIPC::Testing.published.map(&:stream)])
    RUBY
    expect(JSON.parse(output)).to eq([[["7", "orders:4", 4], ["x", "orders:15", 15], ["x", "orders", nil]],
                                      %w[orders orders]])
  end
end

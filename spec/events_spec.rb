# frozen_string_literal: true

RSpec.describe "events of a stream" do
  let(:got) { Queue.new }

  def pending(group = "billing")
    redis.xpending("orders", group)["size"]
  end

  describe "published" do
    it "are handled with what was published" do
      kept = got
      consume { |event| kept << event }
      position = publish({ order_id: 7, note: nil }, type: "order.created", key: 7)
      expect(next_of(got)).to have_attributes(
        source: "orders", position: position, type: "order.created", key: "7", attempt: 1,
        data: { "order_id" => 7, "note" => nil }, occurred_at: be_within(10).of(Time.now),
        received_at: be_within(10).of(Time.now)
      )
      # Before Redis 8.6 the entry has an id field, too.
      expect(redis.xrange("orders").map { |id, fields| [id, fields.except("id")] })
        .to eq([[position, { "type" => "order.created", "key" => "7", "data" => '{"order_id":7,"note":null}' }]])
    end

    it "are in the stream in their order, by one round trip for several" do
      consume { |event| event }
      positions = RedisIPC::Events.publish_all("orders", (0...200).map { |number| { data: number, key: number } },
                                               redis_options: redis_options)
      expect(redis.xrange("orders").map { |id, fields| [id, fields["data"]] })
        .to eq(positions.each_with_index.map { |id, number| [id, number.to_s] })
    end

    it "trim the stream" do
      300.times { |number| publish(number, maxlen: 100) }
      expect(redis.xlen("orders")).to be_between(100, 200)
      old = (Time.now.to_i - 7200) * 1000
      200.times { |number| redis.xadd("old", { "n" => number }, id: "#{old}-#{number + 1}") }
      RedisIPC::Events.publish("old", 1, keep: 3600, redis_options: redis_options)
      expect(redis.xlen("old")).to be < 102
    end

    it "carry what JSON can hold, and nothing else" do
      kept = got
      consume { |event| kept << event.data }
      sent = [nil, true, 1.5, "ü", [1, { "a" => [] }], { "b" => nil }]
      sent.each { |data| publish(data) }
      expect(next_ones(6)).to match_array(sent)
      expect { publish(Object.new) }.to raise_error(RedisIPC::ContentError)
    end

    it "raise Redis's error" do
      redis.set("orders", "a string")
      expect { publish(1) }.to raise_error(RedisIPC::CommandError, /WRONGTYPE/)
      expect { RedisIPC::Events.publish("orders", 1, redis_options: { path: "/nowhere", connect_timeout: 0.1 }) }
        .to raise_error(RedisIPC::ConnectionError)
      expect { RedisIPC::Events.publish("orders", 1, redis_options: { pat: "/nowhere" }) }
        .to raise_error(RedisIPC::ConfigurationError, /pat/)
    end

    it "go to the Redis of the process unless another is named" do
      RedisIPC.configuration.redis_options = redis_options
      RedisIPC::Events.publish("orders", 1)
      expect(redis.xlen("orders")).to eq(1)
    ensure
      RedisIPC.configuration.redis_options = {}
    end
  end

  describe "of other programs" do
    it "are handled with their fields" do
      kept = got
      consume { |event| kept << [event.data, event.type] }
      redis.xadd("orders", { "color" => "blue", "raw" => "\xFF".b })
      expect(next_of(got)).to eq([{ "color" => "blue", "raw" => "\xFF".b }, nil])
    end

    it "are decoded as the consumer says" do
      kept = got
      consume(json: "payload", type: "event") do |event|
        kept << [event.type, event["celsius"], event.metadata[:fields]]
      end
      fields = { "event" => "hot", "payload" => '{"celsius":90}', "room" => "attic" }
      redis.xadd("orders", fields)
      expect(next_of(got)).to eq(["hot", 90, fields])
    end
  end

  describe "a consumer class" do
    it "has a handler for each type, and one for the rest" do
      kept = got
      parent = consumer_class do
        on("order.created", :"order.paid") { |event| kept << [:parent, event.type] }
        on("order.lost") do |event|
          return kept << [:early, event.type] if event["early"]

          kept << [:late, event.type]
        end
      end
      child = Class.new(parent) do
        on("order.paid") { |event| kept << [:child, event.type] }
        define_method(:call) { |event| kept << [:rest, event.type] }
      end
      start(child)
      %w[order.created order.paid order.shipped].each { |type| publish(1, type: type) }
      publish({ early: true }, type: "order.lost")
      expect(next_ones(4)).to contain_exactly([:parent, "order.created"], [:child, "order.paid"],
                                              [:rest, "order.shipped"], [:early, "order.lost"])
    end

    it "skips events that it has no handler for" do
      kept = got
      start(consumer_class { on("a") { |event| kept << event.type } })
      %w[b a].each { |type| publish(1, type: type) }
      expect(next_of(got)).to eq("a")
      eventually { pending.zero? }
      expect(errors).to be_empty
    end

    it "makes an instance for each event" do
      kept = got
      start(consumer_class do
        define_method(:initialize) { @seen = [] }
        define_method(:call) { |event| kept << (@seen << event.data) }
      end)
      3.times { |number| publish(number) }
      expect(next_ones(3)).to contain_exactly([0], [1], [2])
    end

    it "runs as many at the same time as it has threads" do
      gate = Queue.new
      kept = got
      start(consumer_class do
        concurrency threads: 3
        define_method(:call) { |event| (kept << event.data) && gate.pop }
      end)
      5.times { |number| publish(number) }
      expect(next_ones(3).size).to eq(3)
      expect(happens?(within: 0.2) { got.size.positive? }).to be(false)
      5.times { gate << true }
      expect(next_ones(2).size).to eq(2)
    end

    it "is surrounded by its middleware, the outermost class's first" do
      kept = got
      parent = consumer_class do
        around_event do |event, handler|
          kept << [:outer, event.data]
          handler.call
        end
      end
      child = Class.new(parent) do
        around_event(lambda do |_event, handler|
          kept << :inner
          handler.call
        end)
        define_method(:call) { |event| kept << event.data }
      end
      start(child)
      publish(1)
      expect(next_ones(3)).to eq([[:outer, 1], :inner, 1])
    end

    it "gives each thread a resource, which is closed with it" do
      kept = got
      closed = Queue.new
      made = Struct.new(:number) { define_method(:close) { closed << number } }
      number = 0
      start(consumer_class do
        concurrency threads: 2
        resource { made.new(number += 1) }
        define_method(:call) { |_event| (kept << [Thread.current, resource.number, resource.number]) && sleep(0.01) }
      end)
      20.times { publish(1) }
      seen = next_ones(20)
      expect(seen.map { |_, first, second| first - second }).to all(eq(0))
      expect(seen.map { |thread, one, _| [thread, one] }.uniq.size).to eq(number)
      consumers.first.stop
      expect(Array.new(number) { next_of(closed) }.sort).to eq((1..number).to_a)
    end

    it "cannot be started twice, and can be started again once it is stopped" do
      kept = got
      one = consumer_class { define_method(:call) { |event| kept << event.data } }
      expect(start(one)).to equal(one)
      expect(one).to be_running
      expect { one.start }.to raise_error(RedisIPC::ConnectionError, /is started already/)
      one.stop
      expect(one).not_to be_running
      publish(1)
      one.start
      expect(next_of(got)).to eq(1)
    end

    it "takes its own options, those of superclasses, and those of start" do
      above = consumer_class(from: :new) { options lease: 20, dead_letters: { keep: 60 } }
      below = Class.new(above) do
        options lease: 10, attempts: 7
        define_method(:call) { |event| event }
      end
      state = RedisIPC::Events.const_get(:ConsumerState).of(below)
      expect(state.options).to include(lease: 10, attempts: 7, dead_letters: { keep: 60 })
      expect { below.start(lease: -1) }.to raise_error(RedisIPC::ConfigurationError, /lease/)
      expect { below.start(leese: 1) }.to raise_error(RedisIPC::ConfigurationError, /unknown option :leese/)
      expect { below.start(dead_letters: { kep: 1 }) }.to raise_error(RedisIPC::ConfigurationError, /dead_letters.kep/)
    end

    it "takes the options of another Redis as a whole, so that no password goes there" do
      consumer = consumer_class { options redis_options: { url: "redis://:secret@one:1/1" } }
      consumer.define_method(:call) { |event| event }
      setup = RedisIPC::Events.const_get(:ConsumerState).of(consumer).setup(redis_options: { host: "two" })
      expect([setup.redis, setup.core[:redis_options]]).to eq(["redis://two:6379/0", { host: "two" }])
    end
  end

  describe "a block" do
    it "keeps its self, and gets a resource if there is one" do
      kept = got
      subscription = consume(resource: -> { +"mine" }, concurrency: { threads: 1 }) do |event, resource|
        kept << [self.class, event.data, resource]
      end
      publish(1)
      expect(next_of(got)).to eq([self.class, 1, "mine"])
      expect(subscription.inspect).to eq("#<RedisIPC::Events::Subscription orders/billing running>")
      expect(subscription.stop.running?).to be(false)
    end

    it "takes the declarations of a class as keywords" do
      expect { consume(order: :alphabet) { |event| event } }
        .to raise_error(RedisIPC::ConfigurationError, /must be :none, :key or :source/)
      expect { consume(concurrency: { ractors: 3 }) { |event| event } }
        .to raise_error(RedisIPC::ConfigurationError, /ractors/)
      expect { consume(discard_on: 7) { |event| event } }.to raise_error(RedisIPC::ConfigurationError, /got 7/)
      expect { consume(speed: 7) { |event| event } }.to raise_error(RedisIPC::ConfigurationError, /speed/)
      expect { RedisIPC::Events.consume(stream: "a", group: "b") }.to raise_error(ArgumentError, /needs a block/)
    end
  end

  describe "a processor" do
    let(:result) { Struct.new(:error) { def failure? = true } }

    def processor(*answers)
      kept = got
      Class.new { define_method(:process) { |event| (kept << [object_id, event]) && answers[event["n"].to_i] } }
    end

    it "handles the events, as one object or as one for each" do
      one = processor.new
      consume(processor: one)
      consume(group: "search", processor: processor)
      2.times { publish({ x: 1 }) }
      objects = next_ones(4).group_by(&:first)
      expect(objects.delete(one.object_id).map(&:last)).to all(be_a(RedisIPC::ChangeEvent))
      expect(objects.size).to eq(2)
    end

    it "handles events without a handler of their own, and fails an event by its result" do
      one = processor(nil, result.new(IOError.new("busy")), result.new("why")).new
      kept = got
      start(consumer_class do
        processor one
        on("other") { |event| kept << event.data }
        discard_on IOError
      end, attempts: 1)
      publish({ n: 0 }, type: "other")
      expect(next_of(got)).to eq("n" => 0)
      publish({ n: 2 })
      expect(next_of(errors)).to have_attributes(class: RedisIPC::EventFailedError)
      expect(got.pop.last["n"]).to eq(2)
      publish({ n: 1 })
      eventually { consumers.first.stats.values_at(:acknowledged, :dead_lettered) == [2, 1] }
    end

    it "of the gem cdc-core gets that gem's events" do
      base = stub_const("CDC::Core::Processor", Class.new)
      event = stub_const("CDC::Core::ChangeEvent", Struct.new(:table, :new_values, keyword_init: true) do
        define_method(:initialize) { |**all| super(**all.slice(:table, :new_values)) }
      end)
      kept = got
      consume(processor: Class.new(base) { define_method(:process) { |given| kept << given } })
      consume(group: "ours", processor: Class.new(base) do
                                          define_method(:process) do |given|
                                            kept << given
                                          end
                                        end, cdc: false)
      publish({ a: 1 })
      expect(next_ones(2)).to contain_exactly(event.new(table: "orders", new_values: { "a" => 1 }),
                                              be_a(RedisIPC::ChangeEvent))
    end
  end

  describe "where a group begins" do
    before { 3.times { |number| redis.xadd("orders", { "n" => number }, id: "#{number + 1}000-0") } }

    def seen(from)
      kept = got
      consume(group: from.inspect, from: from) { |event| kept << event["n"] }
      redis.xadd("orders", { "n" => "last" })
      taken = []
      taken << next_of(got) until taken.include?("last")
      eventually { consumers.last.lag.zero? }
      taken << next_of(got) until got.empty?
      consumers.pop.stop
      taken.sort
    end

    it "is told by from" do
      expect(seen(:beginning)).to eq(%w[0 1 2 last])
      expect(seen("1000-0")).to eq(%w[1 2 last last])
      expect(seen(Time.at(3))).to eq(%w[2 last last last])
      expect(seen(:new)).to eq(%w[last])
    end

    it "counts only the first time" do
      expect(seen(:new)).to eq(%w[last])
      kept = got
      consume(group: ":new", from: :beginning) { |event| kept << event["n"] }
      redis.xadd("orders", { "n" => "later" })
      expect(next_of(got)).to eq("later")
    end
  end

  describe "in batches" do
    it "are full, or after a time as large as they are then" do
      kept = got
      250.times { |number| publish(number) }
      consume(batch: { size: 100, within: 0.3 }, concurrency: { threads: 1 }) { |events| kept << events.map(&:data) }
      batches = next_ones(3)
      expect(batches.map(&:size)).to eq([100, 100, 50])
      expect(batches.flatten).to eq((0...250).to_a)
      eventually { pending.zero? }
    end

    it "fail by themselves where the handler says so" do
      kept = got
      consume(batch: { size: 10, within: 0.05 }, concurrency: { threads: 1 }) do |events|
        events.each do |event|
          event.attempt == 1 && event.data.odd? ? event.fail!("odd") : kept << [event.data, event.attempt]
        end
      end
      4.times { |number| publish(number) }
      expect(next_ones(4)).to contain_exactly([0, 1], [2, 1], [1, 2], [3, 2])
      eventually { pending.zero? }
    end

    it "that raise are split in two until the failing events are found" do
      kept = got
      consume(batch: { size: 8, within: 0.2 }, concurrency: { threads: 1 }, attempts: 1, retry_on: nil) do |events|
        kept << events.map(&:data)
        raise ArgumentError, "five" if events.any? { |event| event.data == 5 }
      end
      RedisIPC::Events.publish_all("orders", (0...8).map { |number| { data: number } }, redis_options: redis_options)
      expect(next_ones(7)).to eq([(0..7).to_a, [0, 1, 2, 3], [4, 5, 6, 7], [4, 5], [4], [5], [6, 7]])
      letter = eventually { consumers.first.dead_letters.first }
      expect(letter).to have_attributes(data: 5, reason: "ArgumentError: five", attempts: 1)
      eventually { pending.zero? }
      expect(consumers.first.dead_letters.size).to eq(1)
    end

    it "are tried again as a whole if retry_on names the exception" do
      kept = got
      consume(batch: { size: 4, within: 0.2 }, concurrency: { threads: 1 },
              retry_on: { IOError => { wait: 0 } }) do |events|
        kept << [events.size, events.first.attempt]
        raise IOError if events.first.attempt == 1
      end
      RedisIPC::Events.publish_all("orders", (0...4).map { |number| { data: number } }, redis_options: redis_options)
      expect(next_of(got)).to eq([4, 1])
      tried = []
      tried << next_of(got) until tried.sum(&:first) == 4
      expect(tried.map(&:last)).to all(eq(2))
      eventually { pending.zero? }
    end

    it "do not contain events that cannot be read" do
      kept = got
      consume(json: "payload", batch: { size: 3, within: 0.2 }, concurrency: { threads: 1 }) do |events|
        kept << events.map(&:data)
      end
      ["1", "{", "2"].each { |payload| redis.xadd("orders", { "payload" => payload }) }
      handled = []
      handled.concat(next_of(got)) until handled.size == 2
      expect(handled).to eq([1, 2])
      expect(eventually { consumers.first.dead_letters.first }.reason).to include("a field payload that is no JSON")
    end
  end

  describe "paused" do
    it "wait until they are resumed" do
      kept = got
      subscription = consume { |event| kept << event.data }
      publish(1)
      expect(next_of(got)).to eq(1)
      expect(subscription.pause).to be_paused
      publish(2)
      expect(happens?(within: 0.3) { !got.empty? }).to be(false)
      expect(subscription.resume).not_to be_paused
      expect(next_of(got)).to eq(2)
    end

    it "are not by a stopped consumer" do
      subscription = consume { |event| event }.stop
      %i[pause resume lag dead_letters checkpoint].each do |asked|
        expect { subscription.public_send(asked) }
          .to raise_error(RedisIPC::NotConnectedError, "the consumer of orders/billing is not started: call start")
      end
      expect(subscription).not_to be_paused
    end
  end

  describe "lag" do
    it "is what has not been delivered, also after trimming" do
      subscription = consume { |event| event }
      eventually { subscription.lag.zero? }
      subscription.pause
      10.times { |number| publish(number) }
      # The blocked read may already have asked for one batch of the events that wait in Redis.
      expect(eventually { subscription.lag.then { |lag| lag if lag <= 10 } }).to be_between(8, 10)
      redis.call("XTRIM", "orders", "MAXLEN", "4")
      expect(subscription.lag).to be_between(3, 4)
      subscription.resume
      eventually { subscription.lag.zero? }
    end
  end

  describe "reported to subscribers" do
    it "are reported when a handler has ended" do
      told = Queue.new
      subscription = RedisIPC.subscribe(:event, :dead_letter, :error) { |one| told << one }
      consume(attempts: 2, discard_on: KeyError, retry_on: { IOError => { wait: 0 } }) do |event|
        raise({ 1 => IOError, 2 => KeyError }.fetch(event.data)) unless event.data.zero?
      end
      publish(0, type: "order.created")
      first = next_of(told)
      expect(first.name).to eq(:event)
      expect(first.payload).to include(stream: "orders", group: "billing", type: "order.created", attempt: 1,
                                       status: "done", id: first.payload[:event].position, duration: be_positive)
      publish(2)
      expect(next_of(told).payload).to include(status: "discarded", error: be_a(KeyError))
      publish(1)
      expect(next_of(told).payload).to include(status: "retried", error: be_a(IOError), wait: 0.0, attempt: 1)
      expect(next_of(told).payload).to include(status: "dead", error: be_a(IOError), attempt: 2)
      expect([next_of(told), next_of(told)].map(&:name)).to eq(%i[dead_letter error])
    ensure
      RedisIPC.unsubscribe(subscription)
    end
  end
end

# frozen_string_literal: true

# The declarations of a consumer class, and the decisions about failures. This needs no Redis.
RSpec.describe RedisIPC::Events::Consumer do
  def consumer(parent = described_class, &block)
    Class.new(parent, &block)
  end

  # Defines a class that could be started, except for what the block declares.
  def refused(**options, &block)
    one = consumer do
      stream "orders", group: "billing"
      define_method(:call) { |event| event }
    end
    one.class_eval(&block) if block
    error = nil
    expect { one.start(**options) }.to raise_error(RedisIPC::ConfigurationError) { |raised| error = raised }
    error.message
  end

  describe "is refused at its start" do
    it "without a source, a group or a handler" do
      expect { consumer { define_method(:call) { |_| nil } }.start }
        .to raise_error(RedisIPC::ConfigurationError, /has no source: call stream "name", group: "name"/)
      expect(refused { stream "orders" }).to include('needs a group: stream "orders", group: "name"')
      expect { consumer { stream "orders", group: "g" }.start }
        .to raise_error(RedisIPC::ConfigurationError, /handles nothing: define call\(event\), or on\(type\)/)
    end

    it "for unknown options of stream" do
      expect(refused { stream "orders", groop: "g" })
        .to match(/unknown option :groop of stream in .*; known here: group, from, json, type/)
      expect(refused { stream " ", group: "g" }).to include("the stream's name cannot be blank")
      expect(refused { stream "orders", group: 7 }).to include("the group's name must be a String or a Symbol")
      expect(refused { stream "orders", group: "g", from: "soon" })
        .to include('must be :beginning, :new, a Time or an id like "1767225600000-0", got "soon"')
      expect(refused { stream "orders", group: "g", json: 7 }).to include("json: of stream, the name of a field,")
    end

    it "for an impossible order" do
      expect(refused { order :alphabet }).to include("must be :none, :key or :source, got :alphabet")
      expect(refused { order :key, by: "" }).to include("by: of order, the name of a field,")
      expect(refused { order :key, lanes: 0 }).to eq("lanes: of order must be a whole number from 1 to 1024, got 0")
      expect(refused { order :key, then: :stop }).to include("must be :go_on or :hold_key, got :stop")
      expect(refused { order :key, partitions: 257 })
        .to eq("partitions: of order must be a whole number from 1 to 256, got 257")
      expect(refused { order :source, partitions: 16 })
        .to include("need order :key, got order :source: say order :key, partitions: 16")
      expect(refused { order :key, partitions: 16, lanes: 16 }).to include("needs either lanes:", "got both")
      expect(refused { order :source, by: "id" }).to include("unknown option :by of order :source")
      expect(refused { order :none, lanes: 3 }).to include("unknown option :lanes of order :none")
    end

    it "for executors that cannot be combined" do
      expect(refused { concurrency ractors: 3, processes: 2 }).to include("only processes: and threads: combine")
      expect(refused { concurrency threads: 3, fibers: 5 }).to include("threads: and fibers: exclude each other")
      expect(refused { concurrency }).to include("needs a number: concurrency threads: 5")
      expect(refused { concurrency threads: 0 }).to include("must be a whole number from 1 to 1000, got 0")
      expect(refused { concurrency workers: 3 }).to include("unknown option :workers of concurrency")
    end

    it "for impossible batches" do
      expect(refused { batch within: 1 }).to include("needs a size: batch size: 500, within: 0.2")
      expect(refused { batch size: 0 }).to include("size: of batch must be a whole number from 1 to 10000, got 0")
      expect(refused { batch size: 2, within: -1 }).to include("within: of batch must be a number of seconds")
      said = refused do
        batch size: 2
        on("order.created") { |event| event }
      end
      expect(said).to include("has batches, which go to call(events): on(type) is for single events")
    end

    it "for an invalid processor" do
      define = ->(given, **options) { refused { undef_method(:call) && processor(given, **options) } }
      expect(define.call(Object.new)).to match(/the processor of .* must have process\(event\), got a Object/)
      expect(define.call(Comparable)).to include("got Comparable")
      fitting = Class.new { def process(event) = event }
      expect(define.call(fitting, cdr: 1)).to match(/unknown option :cdr of processor in .*; known here: cdc/)
      expect(define.call(fitting, cdc: 1)).to include("the option cdc must be true or false, got 1")
      expect(define.call(fitting, cdc: true)).to include('needs the gem cdc-core: require "cdc/core"')
      expect(refused { processor fitting }).to include("has a method call and a processor")
      expect(refused { undef_method(:call) && batch(size: 2) && processor(fitting) })
        .to include("a processor is for single events")
      [{}, { processor: fitting, block: ->(event) { event } }].each do |block: nil, **words|
        expect { RedisIPC::Events.consume(stream: "orders", group: "g", **words, &block) }
          .to raise_error(ArgumentError, /needs a block, or a processor: with process\(event\), or forward:/)
      end
    end

    it "for invalid rules" do
      expect(refused { retry_on }).to include("retry_on of", "needs a class of exceptions")
      expect(refused { retry_on "KeyError" }).to eq('retry_on needs classes of exceptions, got "KeyError"')
      expect(refused { discard_on Integer }).to eq("discard_on needs classes of exceptions, got Integer")
      expect(refused { retry_on KeyError, wait: :soon }).to include("a number of seconds, :exponential, or a Proc")
      expect(refused { retry_on KeyError, attempts: 0 }).to include("attempts: of retry_on must be a whole number")
      expect(refused { retry_on KeyError, tries: 3 }).to include("unknown option :tries of retry_on")
    end

    it "for unknown options" do
      expect(refused(attempts: 0)).to include("the option attempts must be a whole number from 1 to 1000, got 0")
      expect(refused(logger: 1)).to include("the option logger must respond to")
      expect(refused(reconnect_after_fork: 1)).to include("reconnect_after_fork must be true or false")
      expect(refused(threads: 3)).to eq("threads: is no option of start: say concurrency threads: 5")
      expect(refused(order: :key)).to eq('order: is no option of start: say order :key, by: "order_id"')
      %i[by lanes holds_keys json type group batch retry_on].each do |word|
        expect(refused(word => 1)).to match(/\A#{word}: is no option of start: say \w+/)
      end
      expect(refused(leese: 3)).to match(/\Aunknown option :leese of start in .*; known here: redis_options, logger, /)
      expect(refused("attempts" => 3)).to include('unknown option "attempts" of start')
    end

    it "for keywords of consume that must be a Hash or callable, and are not" do
      refusal = lambda do |**words|
        RedisIPC::Events.consume(stream: "orders", group: "g", **words) { nil }
      rescue RedisIPC::ConfigurationError => e
        e.message
      end
      expect(refusal.call(concurrency: 5)).to eq("concurrency: of consume must be a Hash, as { threads: 5 }, got 5")
      expect(refusal.call(batch: 500)).to eq("batch: of consume must be a Hash, as { size: 500 }, got 500")
      expect(refusal.call(retry_on: { IOError => 5 }))
        .to eq("retry_on: of consume needs a Hash of options for IOError, as { wait: 1 }, got 5")
      %i[on_error on_loss resource].each do |word|
        expect(refusal.call(word => "x")).to eq("#{word}: of consume must respond to call, got \"x\"")
      end
    end

    it "for names with bytes that are not text" do
      expect { RedisIPC::Events.consume(stream: "\xFF".b, group: "g") { nil } }
        .to raise_error(RedisIPC::ConfigurationError, "the stream's name must be text in UTF-8")
    end

    it "for an invalid position, even if String has to_time, as in Rails" do
      text = Class.new(String) { def to_time = to_str == "25:00" ? raise(ArgumentError, "out of range") : nil }
      %w[begining 25:00].each do |from|
        expect(refused { stream "orders", group: "g", from: text.new(from) }).to include("got #{from.inspect}")
      end
      expect(refused { stream "orders", group: "g", from: Time.at(-1) }).to match(/got 1969-12-31/)
      expect(refused { stream "orders", group: "g", from: "99999999999999999999-0" }).to include('got "99999999')
    end

    it "for what a superclass declares" do
      above = consumer { order :alphabet }
      below = consumer(above) do
        stream "orders", group: "g"
        define_method(:call) { |event| event }
      end
      expect { below.start }.to raise_error(RedisIPC::ConfigurationError, /must be :none, :key or :source/)
    end
  end

  it "needs blocks, and instances that are made without arguments" do
    expect { consumer { on("a") } }.to raise_error(ArgumentError, "on needs a block")
    expect { consumer { on { nil } } }.to raise_error(ArgumentError, "on needs a type")
    expect { consumer { resource } }.to raise_error(ArgumentError, "resource needs a block")
    expect { consumer { on_error } }.to raise_error(ArgumentError, "on_error needs a block")
    expect { consumer { around_event } }.to raise_error(ArgumentError, /middleware needs a block/)
    expect { consumer { define_method(:initialize) { |needed| needed } } }
      .to raise_error(ArgumentError, /initialize of .* must need no arguments/)
  end

  it "is not running before its start, and has no stats" do
    one = consumer
    expect([one.running?, one.paused?]).to eq([false, false])
    expect(one.stop).to equal(one)
    %i[stats lag pause resume dead_letters].each do |asked|
      expect { one.public_send(asked) }.to raise_error(RedisIPC::NotConnectedError, /is not started: call start/)
    end
    expect { one.stop(timeout: -1) }.to raise_error(ArgumentError, /timeout/)
  end

  it "has a resource only while a handler runs" do
    expect { consumer.new.resource }.to raise_error(RedisIPC::Error, /no handler with a resource runs in this thread/)
  end

  describe "a failure" do
    let(:rule) { RedisIPC::Events.const_get(:RetryPolicy)::Rule }
    let(:event_class) { Struct.new(:attempt, :position, :source) }

    def policy(*rules, attempts: 3)
      RedisIPC::Events.const_get(:RetryPolicy).new(rules, attempts)
    end

    def decide(policy, error, attempt = 1)
      decision = policy.decide(error, event_class.new(attempt, "1-1", "orders"))
      [decision.action, decision.wait]
    end

    it "without a rule is tried again after 1, 2, 4 and so on seconds, plus a random part" do
      waits = [1, 2, 3, 9, 40].map { |attempt| decide(policy(attempts: 99), IOError.new, attempt).last }
      expect(waits).to match([be_between(1, 1.15), be_between(2, 2.3), be_between(4, 4.6), be_between(256, 295),
                              be_between(3600, 4140)])
      expect(decide(policy, IOError.new, 2).first).to eq(:retry)
      expect(decide(policy, IOError.new, 3)).to eq([:bury, nil])
    end

    it "waits as its rule says" do
      rules = [rule.new(IOError, :retry, 7, nil), rule.new(KeyError, :retry, ->(attempt) { attempt * 10 }, 9)]
      expect(decide(policy(*rules), IOError.new, 2)).to eq([:retry, 7.0])
      expect(decide(policy(*rules), KeyError.new, 8)).to eq([:retry, 80.0])
      expect(decide(policy(*rules), KeyError.new, 9)).to eq([:bury, nil])
      expect(policy(*rules).most_attempts).to eq(9)
    end

    it "waits exponentially if its rule's Proc fails" do
      broken = [->(_) { raise "no" }, ->(_) { "soon" }, ->(_) { -1 }]
      broken.each do |wait|
        decided = nil
        expect { decided = decide(policy(rule.new(IOError, :retry, wait, nil)), IOError.new) }
          .to output(/wait: of retry_on raised/).to_stderr
        expect(decided).to match([:retry, be_between(1, 1.15)])
      end
    end

    it "goes by the rule of the most specific class, and of that by the later one" do
      rules = [rule.new(EOFError, :discard), rule.new(StandardError, :retry, 1, nil), rule.new(IOError, :retry, 2, nil),
               rule.new(IOError, :retry, 3, nil), rule.new(Comparable, :discard)]
      decided = [EOFError, IOError, KeyError, Class.new(EOFError)].map { |one| decide(policy(*rules), one.new) }
      expect(decided).to eq([[:discard, nil], [:retry, 3.0], [:retry, 1.0], [:discard, nil]])
      expect(decide(policy(*rules), Class.new(StandardError) { include Comparable }.new)).to eq([:discard, nil])
      expect([policy(*rules).expected?(IOError.new), policy(*rules).expected?(EOFError.new)]).to eq([true, false])
    end

    it "of an event that cannot be read is final, whatever the rules say" do
      rules = [rule.new(StandardError, :retry, 1, nil)]
      own = RedisIPC::MalformedEntryError.new("no JSON", stream: "orders", entry_id: "1-1")
      other = RedisIPC::MalformedEntryError.new("no answer", stream: "rpc", entry_id: "1-1")
      expect(decide(policy(*rules), own)).to eq([:bury, nil])
      expect(decide(policy(*rules), other)).to eq([:retry, 1.0])
    end
  end

  describe "what is published" do
    it "is checked first" do
      publish = ->(data, **options) { RedisIPC::Events.publish("orders", data, **options) }
      expect { publish.call(Object.new) }.to raise_error(RedisIPC::ContentError)
      expect { publish.call({}, type: " ") }.to raise_error(ArgumentError, "the event's type cannot be blank")
      expect { publish.call({}, key: 1.5) }.to raise_error(ArgumentError, /the event's key must be a String/)
      expect { publish.call({}, maxlen: "1") }.to raise_error(ArgumentError, /maxlen must be a whole number/)
      expect { publish.call({}, keep: 0) }.to raise_error(ArgumentError, /keep must be a number of seconds over 0/)
      expect { publish.call({}, keep: Float::INFINITY) }.to raise_error(ArgumentError, /keep must be .*, got Infinity/)
      expect { publish.call({}, id: 1, remember: 1e12) }
        .to raise_error(ArgumentError, /remember must be .* at most 3155760000, got/)
      expect { publish.call({}, keep: 1, maxlen: 1) }.to raise_error(ArgumentError, /maxlen or keep, not both/)
      expect { RedisIPC::Events.publish(" ", {}) }.to raise_error(ArgumentError, /the stream's name cannot be blank/)
      expect { RedisIPC::Events.publish_all("orders", [{ type: "a" }]) }.to raise_error(ArgumentError, /needs data/)
      expect { RedisIPC::Events.publish_all("orders", [{ data: 1, topic: 1 }]) }
        .to raise_error(ArgumentError, /has data, type, key and id, and no :topic/)
      [nil, { data: 1 }].each do |events|
        expect { RedisIPC::Events.publish_all("orders", events) }
          .to raise_error(ArgumentError, /publish_all needs an Array of events, got a (NilClass|Hash)/)
      end
      expect(RedisIPC::Events.publish_all("orders", [])).to eq([])
    end
  end
end

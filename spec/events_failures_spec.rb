# frozen_string_literal: true

RSpec.describe "events whose handler fails" do
  let(:got) { Queue.new }

  def pending
    redis.xpending("orders", "billing")["size"]
  end

  # Waits for the only dead letter, and returns it.
  def letter
    eventually { consumers.first.dead_letters.first }
  end

  it "are tried again, and the others go on meanwhile" do
    kept = got
    consume(concurrency: { threads: 1 }, retry_on: { IOError => { wait: 0.2 } }) do |event|
      kept << [event.data, event.attempt, event.redelivered?]
      raise IOError if event.data == "bad" && event.attempt < 3
    end
    publish("bad")
    expect(next_of(got)).to eq(["bad", 1, false])
    20.times { |number| publish(number) }
    expect(next_ones(20).map(&:first)).to eq((0...20).to_a)
    expect(next_ones(2)).to eq([["bad", 2, true], ["bad", 3, true]])
    eventually { pending.zero? }
    expect(errors).to be_empty
  end

  it "become dead letters after the last try, with the reason" do
    consume(attempts: 2) { |event| raise KeyError, "no order #{event["order_id"]}" }
    position = publish({ order_id: 7 }, type: "order.paid", key: 7)
    expect(letter).to be_frozen.and have_attributes(
      position: position, reason: "KeyError: no order 7", attempts: 2, type: "order.paid", key: "7",
      data: { "order_id" => 7 }, fields: include("type" => "order.paid", "key" => "7", "data" => '{"order_id":7}'),
      died_at: be_within(10).of(Time.now), id: a_string_matching(/\A\d+-\d+\z/)
    )
    expect(letter.inspect).to include("orders", "no order 7")
    expect(consumers.first.dead_letters.inspect).to eq("#<RedisIPC::Events::DeadLetters of orders/billing>")
    expect(next_of(errors)).to be_a(KeyError).and have_attributes(message: "no order 7")
    eventually { pending.zero? }
    expect(redis.xlen("orders")).to eq(1)
    expect(errors).to be_empty
  end

  it "are tried again from the dead letters as if for the first time, by this group alone" do
    kept = got
    broken = true
    consume(attempts: 1) { |event| broken ? raise("no") : kept << [event.data, event.attempt] }
    consume(group: "other") { |event| kept << [:other, event.data] }
    publish(1)
    expect(next_of(got)).to eq([:other, 1])
    dead = letter
    broken = false
    expect(Array.new(3) { Thread.new { dead.retry } }.map(&:value).count(true)).to eq(1)
    expect(next_of(got)).to eq([1, 1])
    eventually { consumers.first.dead_letters.empty? && pending.zero? }
    expect([dead.retry, dead.discard]).to eq([false, false])
    expect(got).to be_empty
  end

  it "are added again from the dead letters if the stream has lost them" do
    kept = got
    broken = true
    consume(attempts: 1) { |event| broken ? raise("no") : kept << event.data }
    position = publish(1)
    dead = letter
    redis.call("XDEL", "orders", position)
    broken = false
    expect(dead.retry).to be(true)
    expect(next_of(got)).to eq(1)
  end

  it "can be discarded from the dead letters" do
    consume(attempts: 1) { |event| raise "no #{event.data}" }
    3.times { |number| publish(number) }
    letters = consumers.first.dead_letters
    eventually { letters.size == 3 }
    expect(letters.find { |dead| dead.data == 1 }.discard).to be(true)
    expect(letters.map(&:data)).to contain_exactly(0, 2)
  end

  it "are discarded if discard_on names the exception" do
    kept = got
    told = Queue.new
    logger = Logger.new(IO::NULL)
    logger.define_singleton_method(:warn) { |text| told << text }
    consume(discard_on: KeyError, logger: logger) do |event|
      event.data == 1 ? raise(KeyError, "gone") : kept << event.data
    end
    publish(1)
    publish(2)
    expect(next_of(got)).to eq(2)
    eventually { pending.zero? }
    expect(next_of(told)).to match(%r{redis_ipc orders/billing: event \d+-\d+, attempt 1 is discarded: KeyError: gone})
    expect([errors, consumers.first.dead_letters]).to all(be_empty)
  end

  it "wait and are tried as often as their rule says" do
    kept = got
    consume(attempts: 1, retry_on: { IOError => { wait: ->(attempt) { attempt / 100.0 }, attempts: 4 } }) do |event|
      kept << event.attempt
      raise event.data == "io" ? IOError : KeyError
    end
    publish("io")
    expect(next_ones(4)).to eq([1, 2, 3, 4])
    expect(letter).to have_attributes(attempts: 4)
    publish("key")
    expect(next_of(got)).to eq(1)
    eventually { consumers.first.dead_letters.size == 2 }
  end

  it "may be marked as failed by their handler" do
    consume(attempts: 1) { |event| event.fail!("no room") }
    publish(1)
    expect(letter.reason).to eq("RedisIPC::EventFailedError: no room (stream: orders, entry: #{letter.position})")
      .or(eq("RedisIPC::EventFailedError: no room"))
  end

  it "fail by their middleware too" do
    kept = got
    start(consumer_class do
      options attempts: 1
      around_event { |_event, _handler| raise IOError, "no sentry" }
      define_method(:call) { |event| kept << event }
    end)
    publish(1)
    expect(letter.reason).to eq("IOError: no sentry")
    expect(got).to be_empty
  end

  it "fail by exceptions of any class" do
    consume(attempts: 1) { |_event| raise NotImplementedError, "later" }
    publish(1)
    expect(letter.reason).to eq("NotImplementedError: later")
  end

  it "are given up on at once if they cannot be read, and consumption goes on" do
    kept = got
    consume(json: "payload") { |event| kept << event.data }
    ["{", "[1]"].each { |payload| redis.xadd("orders", { "payload" => payload }) }
    redis.xadd("orders", { "other" => "1" })
    redis.xadd("orders", { "payload" => "[2]" })
    expect(next_ones(2)).to contain_exactly([1], [2])
    eventually { consumers.first.dead_letters.size == 2 }
    expect(consumers.first.dead_letters.map { |dead| [dead.attempts, dead.data, dead.fields] })
      .to contain_exactly([1, nil, { "payload" => "{" }], [1, nil, { "other" => "1" }])
    expect(consumers.first.dead_letters.map(&:reason))
      .to contain_exactly(a_string_including("a field payload that is no JSON"), a_string_including("no field payload"))
    expect(Array.new(2) { next_of(errors) }).to all(be_a(RedisIPC::MalformedEntryError))
  end

  it "are reported, whatever bytes another program has put into their type" do
    type = "\xFF\n".b
    consume(type: "event", attempts: 2) { |event| raise IOError, event.type.inspect }
    told = Queue.new
    watching = RedisIPC.subscribe(:dead_letter) { |one| told << one.payload[:event].type }
    redis.xadd("orders", { "event" => type })
    expect(letter).to have_attributes(type: type, reason: 'IOError: "\xFF\n"', attempts: 2)
    expect([next_of(errors), next_of(told)]).to match([an_instance_of(IOError), type])
  ensure
    RedisIPC.unsubscribe(watching)
  end

  it "are settled even if the logger raises" do
    full = Class.new { %i[error warn info].each { |name| define_method(name) { |*| raise "no space left" } } }.new
    kept = got
    consume(concurrency: { threads: 1 }, logger: full, attempts: 2) do |event|
      kept << [event.data, event.attempt, Thread.current]
      raise IOError if event.data == "bad"
    end
    tried = nil
    expect { publish_all(["bad", 1]) && (tried = next_ones(3)) && letter }
      .to output(/is tried again in 0.0 s: IOError: IOError \(the logger raised RuntimeError: no space left/).to_stderr
    expect(tried.map { |one| one.first(2) }).to contain_exactly(["bad", 1], ["bad", 2], [1, 1])
    expect(tried.map(&:last).uniq.size).to eq(1)
  end

  it "are tried again by the thread that replaces theirs if that is killed" do
    kept = got
    consume(concurrency: { threads: 1 }) do |event|
      kept << [event.data, event.attempt]
      Thread.current.kill if event.data == "kill" && event.attempt == 1
    end
    ["kill", 1, 2].each { |data| publish(data) }
    expect(next_ones(4)).to contain_exactly(["kill", 1], ["kill", 2], [1, 1], [2, 1])
    eventually { pending.zero? }
  end

  it "do not lose the other events of their thread when it is killed" do
    kept = got
    consume(concurrency: { threads: 1 }) do |event|
      Thread.current.kill if event.data == 250 && event.attempt == 1
      kept << event.data
    end
    RedisIPC::Events.publish_all("orders", (0...500).map { |number| { data: number } }, redis_options: redis_options)
    expect(next_ones(500)).to match_array(0...500)
    eventually { pending.zero? }
  end

  it "show no data and no objects in the reason" do
    secret = Class.new { define_method(:inspect) { "#<secret>" } }
    consume(attempts: 1) { |_event| secret.new.missing }
    publish({ password: "hunter2" })
    expect(letter.reason).to match(/\ANoMethodError: undefined method .missing'/)
    expect(letter.reason).not_to match(/secret>|hunter2/)
  end

  it "are delivered again if their dead letter cannot be written, which counts as no attempt" do
    kept = got
    redis.set("orders:dead:billing", "no stream")
    consume(attempts: 2) do |event|
      kept << event.attempt
      raise "no"
    end
    publish(1)
    # The dead letter of the second try cannot be written.
    expect(next_ones(3)).to eq([1, 2, 2])
    expect(next_of(errors).message).to include("WRONGTYPE")
    redis.del("orders:dead:billing")
    expect(letter).to have_attributes(reason: "RuntimeError: no", attempts: 2)
    eventually { pending.zero? }
  end

  it "and are tried again at once, over and over, do not keep leases from being renewed" do
    kept = got
    release = Queue.new
    handler = lambda do |event|
      raise "no" unless event.data == "long"

      kept << event.attempt
      release.pop
    end
    2.times { consume(lease: 0.5, attempts: 1000, concurrency: { threads: 4 }, &handler) }
    20.times { |number| publish(number) }
    publish("long")
    expect(next_of(got)).to eq(1)
    # This takes three leases. Without a renewal another process would take the event over in that time.
    deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + 1.5
    Thread.pass while got.empty? && Process.clock_gettime(Process::CLOCK_MONOTONIC) < deadline
    expect(got).to be_empty
    release << :go
  end

  it "after the group was destroyed, are still there" do
    kept = got
    failing = Queue.new
    consume(lease: 0.3, retry_on: { RuntimeError => { wait: 0.5 } }) do |event|
      kept << [event.data, event.attempt]
      failing.pop && raise("no") if event.attempt == 1
    end
    publish(1)
    expect(next_of(got)).to eq([1, 1])
    redis.xgroup(:destroy, "orders", "billing")
    expect(next_of(errors).message).to match(/NOGROUP|was gone/)
    eventually { redis.xinfo("groups", "orders").any? && pending == 1 }
    failing << :now
    expect(next_of(got)).to eq([1, 2])
    eventually { pending.zero? }
  end

  it "do not delay a stop: the other events of the thread are given back" do
    begun = Queue.new
    release = Queue.new
    consume(concurrency: { threads: 1 }) do |event|
      # The quick events come first, so that the thread takes several at once.
      next unless event.data == "slow"

      begun << true
      release.pop
    end
    300.times { |number| publish(number) }
    publish("slow")
    50.times { |number| publish(number) }
    begun.pop
    stopping = Thread.new { consumers.first.stop(timeout: 20) }
    release << :go
    expect(stopping.join(10)).not_to be_nil
    eventually { redis.xpending("orders", "billing")["consumers"].size <= 1 }
  end

  describe "that are missing" do
    let(:losses) { Queue.new }

    def watch
      kept = [got, losses]
      consume(on_loss: ->(loss) { kept.last << loss }) { |event| kept.first << event.data }
    end

    it "because the stream was trimmed before they were delivered are counted, by one process" do
      watch
      publish(0)
      expect(next_of(got)).to eq(0)
      subscription = consumers.last
      subscription.pause
      others = watch.tap(&:pause)
      20.times { |number| publish(1 + number) }
      redis.xtrim("orders", 7)
      first = next_of(losses)
      expect(first).to have_attributes(cause: :trimmed, source: "orders")
      redis.xtrim("orders", 5)
      expect(next_of(losses)).to have_attributes(cause: :trimmed, at_most: 2)
      [subscription, others].each(&:resume)
      handled = []
      eventually { subscription.lag.zero? && redis.xpending("orders", "billing")["size"].zero? }
      handled.push(got.pop) until got.empty?
      # A read that was open when the consumer was paused may have brought one event.
      expect(handled).to include(*16..20)
      expect(first.at_most + 2 + handled.size).to eq(20)
      expect([subscription, others].sum { |one| one.stats[:losses] }).to eq(2)
    end

    it "are reported to subscribers" do
      told = losses
      watching = RedisIPC.subscribe(:loss) { |one| told << one.payload }
      consume { |event| event }.pause
      publish(0)
      redis.xtrim("orders", 0)
      expect(next_of(losses)).to include(stream: "orders", group: "billing", consumer: /consumer of orders/,
                                         loss: have_attributes(cause: :trimmed, source: "orders"))
    ensure
      RedisIPC.unsubscribe(watching)
    end

    it "are reported inside the framework's executor, like errors" do
      inside = false
      allow(RedisIPC.framework).to receive(:around_callback).and_wrap_original do |original, *arguments, &block|
        inside = true
        original.call(*arguments, &block)
      ensure
        inside = false
      end
      told = losses
      consume(on_loss: ->(_) { told << inside }) { |event| event }.pause
      publish(0)
      redis.xtrim("orders", 0)
      expect(next_of(losses)).to be(true)
    end

    # Adds events and trims the stream in one step, so that no check comes in between.
    def add_and_trim(count, left)
      redis.multi do |all|
        count.times { |number| all.xadd("orders", { "data" => number }) }
        all.xtrim("orders", left)
      end
    end

    it "because they were trimmed and skipped at once are counted when the group is at the end" do
      subscription = watch
      publish(0)
      expect(next_of(got)).to eq(0)
      add_and_trim(20, 7)
      expect(next_ones(7)).to match_array(13..19)
      read = redis.xinfo(:groups, "orders").first["entries-read"]
      skip "this server counts as read what was passed over" if read == redis.xinfo(:stream, "orders")["entries-added"]

      expect(next_of(losses)).to have_attributes(cause: :trimmed, at_most: 13, exact?: true)
      add_and_trim(10, 4)
      expect(next_ones(4)).to match_array(6..9)
      expect(next_of(losses)).to have_attributes(cause: :trimmed, at_most: 6, exact?: true)
      expect(subscription.stats[:losses]).to eq(2)
    end

    it "because all of Redis was flushed are reported by one process; no connection counts as lost" do
      both = Array.new(2) { watch }
      publish(0)
      expect(next_of(got)).to eq(0)
      eventually { pending.zero? }
      redis.flushall
      expect(next_of(losses)).to have_attributes(cause: :flushed, at_most: nil, exact?: false)
      publish(1)
      expect(next_of(got)).to eq(1)
      expect(both.map { |one| one.stats[:reconnections] }).to eq([0, 0])
      expect(both.sum { |one| one.stats[:losses] }).to eq(1)
      expect(next_of(errors)).to be_a(RedisIPC::CommandError)
        .and have_attributes(message: /the consumer group was gone, and the stream with it/)
      expect(errors).to be_empty
    end

    it "because the server came back with an older state are reported, even if the stream has gone on" do
      server = start_server(save: "", appendonly: "no")
      options = { redis_options: { path: server.path } }
      kept = [got, losses]
      RedisIPC::Events.publish("orders", 0, **options)
      consume(on_loss: ->(loss) { kept.last << loss }, **options) { |event| kept.first << event.data }
      expect(next_of(got)).to eq(0)
      eventually { server.client.xpending("orders", "billing")["size"].zero? }
      server.client.save
      RedisIPC::Events.publish("orders", 1, **options)
      expect(next_of(got)).to eq(1)
      server.kill
      server.start
      server.client.xadd("orders", { "data" => "2" })
      expect(next_of(losses)).to have_attributes(cause: :rolled_back, at_most: nil)
      expect(next_of(got)).to eq(2)
    end

    it "are none if the group begins after the end of the stream" do
      publish(0)
      consume(from: Time.now + 3600, on_loss: ->(loss) { losses << loss }) { |event| event }
      checks = -> { redis.info(:commandstats).fetch("eval_ro", {}).fetch("calls", 0).to_i }
      before = checks.call
      eventually { checks.call >= before + 2 }
      expect(losses).to be_empty
    end

    it "from before the group was made are no loss" do
      10.times { |number| publish(number) }
      redis.xtrim("orders", 4)
      watch
      expect(Array.new(4) { next_of(got) }).to match_array(6..9)
      publish(10)
      expect(next_of(got)).to eq(10)
      eventually { redis.xinfo(:groups, "orders").first["entries-read"] == 11 }
      expect(losses).to be_empty
    end
  end
end

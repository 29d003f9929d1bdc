# frozen_string_literal: true

# What runs the handlers of a consumer: threads, fibers, forked processes.
RSpec.describe "the executors of events" do
  let(:got) { Queue.new }

  def pending
    redis.xpending("orders", "billing")["size"]
  end

  def next_ones(count)
    Array.new(count) { next_of(got) }
  end

  def publish_all(data)
    RedisIPC::Events.publish_all("orders", data.map { |one| { data: one } }, redis_options: redis_options)
  end

  def executors
    RedisIPC::Events.const_get(:Executors)
  end

  describe "handle what was taken together" do
    let(:setup) { Struct.new(:batch, :ordered?) }
    let(:delivery) { ->(_, event) { (got << event) && event != 2 } }
    let(:intake) { instance_double(executors.const_get(:Intake), stopping?: false) }

    def handle(ordered)
      executors::Handling.new(setup.new(nil, ordered), delivery).call(nil, [1, 2, 3], intake)
    end

    it "to the end, if there is no order" do
      expect(handle(false)).to be(true)
      expect(next_ones(3)).to eq([1, 2, 3])
    end

    it "up to the first that is not done, if there is one" do
      expect(handle(true)).to be(false)
      expect(next_ones(2)).to eq([1, 2])
      expect(got).to be_empty
    end

    it "until the consumer stops" do
      allow(intake).to receive(:stopping?).and_return(false, true)
      expect(handle(false)).to be(false)
      expect(got.size).to eq(1)
    end
  end

  describe "threads" do
    it "are replaced when they are killed, and their event is tried again" do
      kept = got
      consume(concurrency: { threads: 1 }) do |event|
        kept << [event.data, event.attempt]
        Thread.current.kill if event.attempt == 1
      end
      publish(1)
      expect(next_ones(2)).to eq([[1, 1], [1, 2]])
      eventually { pending.zero? }
    end
  end

  describe "fibers", gem: "async" do
    before { require "async" }

    # Handlers that wait until `count` of them run.
    def barrier(count)
      kept = got
      gate = Queue.new
      inside = 0
      lambda do |event|
        inside += 1
        count.times { gate << true } if (inside % count).zero?
        gate.pop
        kept << [event, Thread.current]
      end
    end

    it "run many handlers at the same time, in one thread" do
      together = barrier(20)
      consume(concurrency: { fibers: 20 }) { |event| together.call(event.data) }
      publish_all(0...20)
      done = next_ones(20)
      expect(done.map(&:first)).to match_array(0...20)
      expect(done.map(&:last).uniq.size).to eq(1)
      eventually { pending.zero? }
    end

    it "take no more than so many" do
      gate = Queue.new
      kept = got
      subscription = consume(concurrency: { fibers: 3 }) { |event| (kept << event.data) && gate.pop }
      publish_all(0...10)
      next_ones(3)
      expect(happens?(within: 0.3) { !got.empty? || subscription.stats[:held] > 3 }).to be(false)
      10.times { gate << true }
      next_ones(7)
      eventually { pending.zero? }
    end

    it "let each other run while they sleep, wait for a socket, and ask others" do
      connect("child", &echo)
      asker = connect("parent")
      reader, writer = IO.pipe
      kept = got
      consume(concurrency: { fibers: 3 }) do |event|
        case event.data
        when "waits" then kept << reader.gets
        when "asks" then kept << asker.send_to_group(content: "answer", to: "child").value
        else sleep(0.001) && writer.puts("line")
        end
      end
      publish("waits")
      publish("asks")
      publish("writes")
      expect(next_ones(2)).to contain_exactly("line\n", "answer")
    ensure
      [reader, writer].each(&:close)
    end

    it "try again what fails, and give up on it, without holding up others" do
      kept = got
      subscription = consume(attempts: 2, concurrency: { fibers: 2 }) do |event|
        kept << [event.data, event.attempt]
        raise "no" if event.data == "bad"
      end
      publish("bad")
      publish("good")
      expect(next_ones(3)).to contain_exactly(["bad", 1], ["bad", 2], ["good", 1])
      expect(eventually { subscription.dead_letters.first }).to have_attributes(data: "bad", reason: "RuntimeError: no")
      expect(next_of(errors)).to be_a(RuntimeError)
      eventually { pending.zero? }
    end

    it "handle batches" do
      kept = got
      consume(batch: { size: 4, within: 10 }, concurrency: { fibers: 2 }) { |events| kept << events.map(&:data) }
      publish_all(0...8)
      expect(next_ones(2).flatten).to match_array(0...8)
      eventually { pending.zero? }
    end

    it "own a resource each, which is closed with them; what a handler starts has it too" do
      made = Queue.new
      closed = Queue.new
      together = barrier(3)
      consumer = consumer_class do
        concurrency fibers: 3
        resource { Object.new.tap { |one| (made << one) && one.define_singleton_method(:close) { closed << self } } }
        define_method(:call) { |_| together.call([resource, Async { resource }.wait]) }
      end
      start(consumer)
      publish_all(0...6)
      own = next_ones(6).map(&:first)
      expect(own).to all(satisfy { |of_fiber, of_child| of_fiber.equal?(of_child) })
      consumer.stop
      expect(own.map(&:first).uniq).to match_array(Array.new(made.size) { made.pop }).and have_attributes(size: 3)
      expect(closed.size).to eq(3)
    end

    it "finish their handlers when the consumer stops, and hand back what was not begun" do
      gate = Queue.new
      kept = got
      subscription = consume(concurrency: { fibers: 2 }, lease: 60) { |event| (kept << event.data) && gate.pop }
      publish_all(0...6)
      begun = next_ones(2)
      stopping = Thread.new { subscription.stop(timeout: 20) }
      eventually { !subscription.running? }
      2.times { gate << true }
      stopping.join
      expect(got).to be_empty
      consume { |event| kept << event.data }
      expect(next_ones(4)).to match_array((0...6).to_a - begun)
    end

    it "may stop their consumer" do
      subscription = nil
      kept = got
      subscription = consume(concurrency: { fibers: 2 }) { |event| kept << [event.data, subscription.stop.running?] }
      publish(1)
      expect(next_of(got)).to eq([1, false])
      eventually { pending.zero? && redis.xinfo(:consumers, "orders", "billing").empty? }
    end

    it "go on when their threads are killed: what ran is tried again" do
      kept = got
      gate = Queue.new
      consume(concurrency: { fibers: 2 }) do |event|
        kept << [event.data, event.attempt, Thread.current]
        gate.pop if event.attempt == 1
      end
      publish_all([1, 2])
      reactor = next_ones(2).last.last
      Thread.list.find { |thread| thread.name.to_s.start_with?("redis_ipc event taker") }.kill
      reactor.kill
      expect(next_ones(2).map { |data, attempt, _| [data, attempt] }).to contain_exactly([1, 2], [2, 2])
      publish(3)
      expect(next_of(got).first(2)).to eq([3, 1])
      2.times { gate << true }
      eventually { pending.zero? }
    end

    it "are refused without the gem, and where ActiveRecord would mix their connections up" do
      fibers = executors::Fibers
      start = -> { consume(concurrency: { fibers: 2 }) { |event| event } }
      stub_const("ActiveRecord::Base", Class.new)
      expect(&start).to raise_error(RedisIPC::ConfigurationError, /needs .*isolation_level = :fiber/)
      stub_const("ActiveSupport::IsolatedExecutionState", Module.new { def self.isolation_level = :fiber })
      expect(&start).not_to raise_error
      allow(fibers).to receive(:require).with("async").and_raise(LoadError)
      expect(&start).to raise_error(RedisIPC::ConfigurationError, /needs the gem async: add it to the Gemfile/)
    end
  end
end

# frozen_string_literal: true

RSpec.describe "requests of instances that die" do
  # Starts a process that hangs the first time it gets a request, after printing that, and answers the second time.
  def fragile_process(options)
    ruby(<<~RUBY).tap { |process| expect(process.line).to eq("ready") }
      stream = RedisIPC::Stream.new("house", "child")
      stream.on_request do |entry|
        puts "started"
        sleep unless entry.redelivered?
        fulfill_request(entry, content: [Process.pid, entry.deliveries, entry.redelivered?])
      end
      stream.connect(#{options})
      puts "ready"
      sleep
    RUBY
  end

  it "are answered by another, in time, marked redelivered" do
    first = fragile_process("")
    parent = connect("parent")
    future = parent.async_send_to_group(content: 1, to: "child", timeout: 30)
    expect(first.line).to eq("started")
    second = fragile_process("")
    first.kill
    # An asker waits for 5 s by default, so this is in time.
    took = seconds { expect(future.value).to eq([second.pid, 2, true]) }
    expect(took).to be < 5
  end

  it "are not taken over while their instance lives, however slow it is" do
    first = ruby(<<~RUBY)
      stream = RedisIPC::Stream.new("house", "child")
      stream.on_request do |entry|
        puts "started"
        # This keeps the GVL busy: renewing the lease must not need it.
        deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + 2
        nil while Process.clock_gettime(Process::CLOCK_MONOTONIC) < deadline
        fulfill_request(entry, content: [Process.pid, entry.deliveries])
      end
      stream.connect(consumer: { lease: 0.6 })
      puts "ready"
      sleep
    RUBY
    expect(first.line).to eq("ready")
    future = connect("parent").async_send_to_group(content: 1, to: "child", timeout: 20)
    expect(first.line).to eq("started")
    other = connect("child", consumer: { lease: 0.6 }, &echo)
    expect(future.value).to eq([first.pid, 1])
    expect(other.stats).to include(taken: 0)
  end

  # This is the case in a deployment that changes the lease.
  it "are not taken over by an instance with a shorter lease while theirs lives" do
    gate = Queue.new
    started = Queue.new
    connect("child", consumer: { lease: 1 }) do |entry|
      started << entry
      gate.pop
      fulfill_request(entry, content: entry.deliveries)
    end
    future = connect("parent").async_send_to_group(content: 1, to: "child", timeout: 20)
    next_of(started)
    hasty = connect("child", consumer: { lease: 0.15 }, &echo)
    looks = -> { redis.info("commandstats").dig("xpending", "calls").to_i }
    before = looks.call
    eventually { looks.call >= before + 8 }
    gate << true
    expect(future.value).to eq(1)
    expect(hasty.stats).to include(taken: 0)
  end

  it "do not become dead letters because they were held beside one that kills each time" do
    deadly = <<~RUBY
      stream = RedisIPC::Stream.new("house", "child")
      beside = Queue.new
      stream.on_request do |entry|
        if entry.content == "poison"
          beside.pop if entry.deliveries < 3
          Process.kill(:KILL, Process.pid)
        else
          beside << true
          sleep
        end
      end
      stream.connect(consumer: { lease: 0.2, max_deliveries: 3 })
      sleep
    RUBY
    parent = connect("parent")
    poison, *harmless = ["poison", 1, 2].map do |content|
      parent.async_send_to_group(content: content, to: "child", timeout: 30)
    end
    3.times { ruby(deadly).wait }
    survivor = connect("child", consumer: { lease: 0.2, max_deliveries: 3 }) do |entry|
      fulfill_request(entry, content: entry.deliveries)
    end

    expect(poison.response.error).to eq("RedisIPC::DeadLetteredError")
    expect(harmless.map { |future| future.response.content }).to eq([3, 3])
    expect(survivor.stats).to include(dead_lettered: 1, redelivered: 3)
  end

  describe "and were held by two that died" do
    let(:consumer) { { lease: 0.5, max_deliveries: 3, pool_size: 40 } }

    # Leaves requests with which two processes have died.
    def suspects(count)
      parent = connect("parent")
      futures = Array.new(count) { |index| parent.async_send_to_group(content: index, to: "child", timeout: 60) }
      2.times do
        process = ruby(<<~RUBY)
          stream = RedisIPC::Stream.new("house", "child")
          stream.on_request { |entry| puts entry.id; sleep }
          stream.connect(consumer: #{consumer.inspect})
          sleep
        RUBY
        count.times { process.line }
        process.kill
        process.wait
      end
      futures
    end

    def deliveries
      redis.xpending("house:inbox:child", "child", "-", "+", 100).map { |row| row["count"] }
    end

    it "are taken over one at a time, the next as soon as one is answered" do
      futures = suspects(30)
      connect("child", consumer: { **consumer, pool_size: 1 }, &echo)
      # If only one were taken at each check for dead instances, this would take 13 s.
      took = seconds { expect(futures.map(&:value)).to eq((0...30).to_a) }
      expect(took).to be < 6
    end

    it "keep their deliveries when the instance that holds them disconnects" do
      suspects(3)
      gate = Queue.new
      survivor = connect("child", consumer: consumer) { gate.pop }
      eventually { gate.num_waiting.positive? }
      survivor.disconnect(timeout: 0)
      expect(deliveries).to all(be >= 2)
      gate.close
    end
  end

  it "become dead letters when they kill every instance that takes them, and the asker gets an error" do
    poison = <<~RUBY
      stream = RedisIPC::Stream.new("house", "child")
      stream.on_request do |entry|
        Process.kill(:KILL, Process.pid) if entry.content == "poison"
        fulfill_request(entry, content: entry.content)
      end
      stream.connect(consumer: { lease: 0.2, max_deliveries: 2 })
      puts "ready"
      sleep
    RUBY
    first, second = Array.new(2) { ruby(poison).tap(&:line) }
    parent = connect("parent")
    future = parent.async_send_to_group(content: "poison", to: "child", timeout: 30)
    [first, second].each(&:wait)
    survivor = connect("child", consumer: { lease: 0.2, max_deliveries: 2 }, &echo)

    expect(future.response.reason).to match(/delivered 2 times without an answer/)
    expect(future.response.error).to eq("RedisIPC::DeadLetteredError")
    expect(next_of(errors)).to be_a(RedisIPC::DeadLetteredError)
    dead = redis.xrange("house:dead:child").map(&:last)
    expect(dead).to match([a_hash_including(
      "content" => '"poison"', "dead_reason" => /delivered 2 times/, "dead_deliveries" => "3", "dead_id" => /-/
    )])
    expect(redis.xlen("house:inbox:child")).to eq(0)
    expect(parent.send_to_group(content: "fine", to: "child").value).to eq("fine")
    expect(survivor.stats).to include(dead_lettered: 1)
  end

  it "are lost with delivery: :at_most_once, and never run twice" do
    first = fragile_process("consumer: { delivery: :at_most_once, lease: 0.2 }")
    future = connect("parent").async_send_to_group(content: 1, to: "child", timeout: 3)
    expect(first.line).to eq("started")
    first.kill
    second = connect("child", consumer: { delivery: :at_most_once, lease: 0.2 }, &echo)
    expect { future.value }.to raise_error(RedisIPC::TimeoutError) { |error| expect(error.outcome).to eq(:unknown) }
    expect(second.stats).to include(taken: 0)
  end

  it "are given back unstarted when their instance is stopped, and count as delivered once" do
    connect("parent")
    first = connect("child", consumer: { pool_size: 1 }) { |entry| sleep(1) && fulfill_request(entry, content: 1) }
    parent = streams.first
    futures = Array.new(2) { parent.async_send_to_group(content: 1, to: "child", timeout: 20) }
    eventually { redis.xpending("house:inbox:child", "child")["size"].positive? }
    closing = Thread.new { first.disconnect }
    connect("child") { |entry| fulfill_request(entry, content: entry.deliveries) }
    expect(futures.map(&:value)).to eq([1, 1])
    closing.join
  end

  it "leave no consumer and no presence behind for ever" do
    process = answering_process("child", options: "consumer: { lease: 0.1 }")
    connect("parent", consumer: { lease: 0.1 }).send_to_group(content: 1, to: "child")
    process.kill
    names = -> { redis.xinfo(:consumers, "house:inbox:child", "child").map { |consumer| consumer["name"] } }
    # Nobody has cleaned up yet.
    expect(names.call.size).to eq(1)
    child = connect("child", consumer: { lease: 0.1 }, &echo)
    eventually { names.call == [child.instance_id] }
    eventually { child.instances.map { |row| row[:pid] }.uniq == [Process.pid] }
    expect(child.instances.size).to eq(2)
  end
end

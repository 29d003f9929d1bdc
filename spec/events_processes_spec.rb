# frozen_string_literal: true

# Events among several real processes, which are killed, forked and disconnected.
RSpec.describe "events among processes" do
  let(:got) { Queue.new }

  # Starts a process that consumes "orders", and prints what its handler says.
  def consuming(handler, options: "", group: "billing")
    ruby(<<~RUBY).tap { |process| expect(process.line).to eq("ready") }
      require "logger"
      def say(*words) = $stdout.write(words.join(" ") + "\n")
      RedisIPC.configure do |config|
        config.redis_options = { url: ENV.fetch("REDIS_URL") }
        config.logger = Logger.new(IO::NULL)
      end
      # No handler says anything before the process is ready.
      ready = Thread::Queue.new
      subscription = RedisIPC::Events.consume(stream: "orders", group: #{group.inspect}, from: :beginning,
                                              #{options}) do |event|
        ready.pop
        #{handler}
      end
      say("ready")
      ready.close
      $stdin.gets
      subscription.stop
      say("stopped")
    RUBY
  end

  def pending(group = "billing")
    redis.xpending("orders", group)["size"]
  end

  it "share a group: each is handled once where nothing fails" do
    handler = "say(event.data, Process.pid)"
    workers = Array.new(3) { consuming(handler, options: "concurrency: { threads: 2 }") }
    publish_all(0...600)
    eventually { pending.zero? && redis.xinfo(:groups, "orders").first["lag"].to_i.zero? }
    workers.each { |worker| worker.puts("stop") }
    lines = workers.flat_map { |worker| worker.rest.lines.map(&:split) }.reject { |line| line == ["stopped"] }
    expect(lines.map { |number, _| number.to_i }).to match_array(0...600)
    expect(lines.map(&:last).uniq.size).to be > 1
  end

  it "keep their attempts when their process dies, until they are given up on" do
    handler = "say(event.attempt); sleep"
    options = "lease: 0.3, attempts: 3, concurrency: { threads: 1 }"
    publish("poison")
    attempts = Array.new(3) do
      worker = consuming(handler, options: options)
      worker.line.to_i.tap do
        worker.kill
        worker.wait
      end
    end
    expect(attempts).to eq([1, 2, 3])
    kept = got
    subscription = consume(lease: 0.3, attempts: 3) { |event| kept << event.data }
    dead = eventually(timeout: 20) { subscription.dead_letters.first }
    expect(dead).to have_attributes(data: "poison", reason: /delivered 3 times/)
    expect(next_of(errors)).to be_a(RedisIPC::DeadLetteredError).and have_attributes(stream: "orders", group: "billing")
    publish("fine")
    expect(next_of(got)).to eq("fine")
  end

  it "are taken over from a process that was killed" do
    worker = consuming("say(event.data); sleep", options: "lease: 0.3, concurrency: { threads: 1 }")
    publish_all(0...5)
    expect(worker.line).to eq("0")
    worker.kill
    kept = got
    consume(lease: 0.3) { |event| kept << [event.data, event.attempt] }
    taken = next_ones(5)
    expect(taken.map(&:first)).to match_array(0...5)
    expect(taken).to include([0, 2])
    eventually { pending.zero? }
  end

  it "are renewed while they are handled: a handler that takes longer than a lease is not run twice" do
    runs = Queue.new
    gate = Queue.new
    consume(lease: 0.2) { |event| (runs << event.attempt) && gate.pop }
    other = consume(lease: 0.2) { |event| runs << [:other, event.attempt] }
    other.pause
    publish(1)
    expect(next_of(runs)).to eq(1)
    other.resume
    expect(happens?(within: 1) { !runs.empty? }).to be(false)
    gate << true
    eventually { pending.zero? }
  end

  it "are handed back at once by a consumer that stops: those that were not started, without a try" do
    started = Queue.new
    gate = Queue.new
    first = consume(lease: 60, concurrency: { threads: 1 }) { |event| (started << event.data) && gate.pop }
    publish_all(0...10)
    expect(next_of(started)).to eq(0)
    kept = got
    stopping = Thread.new { first.stop(timeout: 20) }
    eventually { !first.running? }
    consume(lease: 60) { |event| kept << [event.data, event.attempt] }
    expect(next_ones(9)).to match_array((1..9).map { |number| [number, 1] })
    gate << true
    stopping.join
    eventually { pending.zero? }
    expect(started).to be_empty
  end

  it "are handed back by one that is stopped before its handler ends, as a try" do
    started = Queue.new
    gate = Queue.new
    first = consume(lease: 60, concurrency: { threads: 1 }) { |event| (started << event.data) && gate.pop }
    publish(1)
    next_of(started)
    first.stop(timeout: 0.1)
    kept = got
    consume(lease: 60) { |event| kept << [event.data, event.attempt] }
    expect(next_of(got)).to eq([1, 2])
    gate << true
  end

  it "leave no consumer of an ended process behind" do
    worker = consuming("event", options: "lease: 60")
    expect(redis.xinfo(:consumers, "orders", "billing").size).to eq(1)
    worker.puts("stop")
    expect(worker.line).to eq("stopped")
    worker.wait
    expect(redis.xinfo(:consumers, "orders", "billing")).to eq([])
  end

  it "are handed back at the end of the process, after its handlers" do
    worker = ruby(<<~RUBY)
      options = { url: ENV.fetch("REDIS_URL") }
      RedisIPC::Events.consume(stream: "orders", group: "billing", from: :beginning, redis_options: options,
                               lease: 60, concurrency: { threads: 1 }) do |event|
        $stdout.write("begun\\n")
        sleep 0.2
        RedisIPC::Events.publish("done", event.data, redis_options: options)
      end
      $stdin.gets
    RUBY
    publish_all(0...20)
    expect(worker.line).to eq("begun")
    worker.puts("end")
    expect(worker.wait).to be_success
    done = redis.xrange("done").map { |_, fields| fields["data"].to_i }
    expect(done).not_to be_empty
    kept = got
    consume(lease: 60) { |event| kept << [event.data, event.attempt] }
    expect(next_ones(20 - done.size)).to match_array(((0...20).to_a - done).map { |number| [number, 1] })
  end

  describe "that fork" do
    it "consume in both, and the child takes part under its own name" do
      worker = ruby(<<~RUBY)
        RedisIPC.configure { |config| config.redis_options = { url: ENV.fetch("REDIS_URL") } }
        RedisIPC::Events.publish("orders", 0)
        subscription = RedisIPC::Events.consume(stream: "orders", group: "billing", concurrency: { threads: 1 }) do |event|
          RedisIPC::Events.publish("done", { by: Process.pid, event: event.data })
          sleep 0.01
        end
        child = fork do
          subscription.lag
          $stdout.write("ready\\n")
          $stdin.read
        end
        $stdout.write("\#{Process.pid} \#{child}\\n")
        Process.wait(child)
      RUBY
      lines = [worker.line, worker.line]
      parent, child = lines.find { |line| line != "ready" }.split.map(&:to_i)
      eventually { redis.xinfo(:consumers, "orders", "billing").size == 2 }
      publish_all(0...100)
      done = -> { redis.xrange("done").map { |_, fields| JSON.parse(fields["data"]) } }
      eventually { done.call.size == 100 }
      expect(done.call.map { |one| one["event"] }).to match_array(0...100)
      expect(done.call.map { |one| one["by"] }.uniq).to contain_exactly(parent, child)
      worker.end_input
      expect(worker.wait).to be_success
    end

    it "in a handler leave its event to the parent" do
      worker = ruby(<<~RUBY)
        RedisIPC.configure { |config| config.redis_options = { url: ENV.fetch("REDIS_URL") } }
        subscription = RedisIPC::Events.consume(stream: "orders", group: "billing", from: :beginning,
                                                concurrency: { threads: 1 }, reconnect_after_fork: false) do |event|
          child = fork do
            $stderr.reopen(IO::NULL)
            raise "in the child"
          end
          Process.wait(child)
          $stdout.write("handled \#{event.data} \#{event.attempt}\\n")
        end
        $stdin.gets
      RUBY
      publish_all([1, 2])
      expect([worker.line, worker.line]).to eq(["handled 1 1", "handled 2 1"])
      eventually { pending.zero? }
    end

    it "do not consume in the child with reconnect_after_fork: false" do
      worker = ruby(<<~RUBY)
        RedisIPC.configure { |config| config.redis_options = { url: ENV.fetch("REDIS_URL") } }
        subscription = RedisIPC::Events.consume(stream: "orders", group: "billing", reconnect_after_fork: false) { |_| nil }
        child = fork do
          begin
            subscription.lag
          rescue RedisIPC::NotConnectedError => e
            $stdout.write("\#{subscription.running?} \#{e.class}\\n")
          end
        end
        Process.wait(child)
        $stdout.write("\#{subscription.running?} \#{subscription.lag}\\n")
      RUBY
      expect([worker.line, worker.line]).to eq(["false RedisIPC::NotConnectedError", "true 0"])
    end

    it "publish by a connection of their own" do
      worker = ruby(<<~RUBY)
        RedisIPC.configure { |config| config.redis_options = { url: ENV.fetch("REDIS_URL") } }
        RedisIPC::Events.publish("orders", "parent")
        child = fork { RedisIPC::Events.publish("orders", "child") }
        Process.wait(child)
        RedisIPC::Events.publish("orders", "parent again")
        RedisIPC.disconnect
        RedisIPC::Events.publish("orders", "connected again")
        puts "done"
      RUBY
      expect(worker.line).to eq("done")
      expect(redis.xrange("orders").map { |_, fields| JSON.parse(fields["data"]) })
        .to eq(["parent", "child", "parent again", "connected again"])
    end
  end

  describe "when Redis changes under them" do
    # Returns the outcome of a call in the block. The connection may break at any moment.
    def outcome_of
      yield && nil
    rescue RedisIPC::ConnectionError => e
      e.outcome
    end

    it "go on after the stream was deleted and created again" do
      kept = got
      consume { |event| kept << event.data }
      publish(1)
      expect(next_of(got)).to eq(1)
      redis.del("orders")
      # The ids of the stream begin anew, below the last one that was delivered.
      redis.xadd("orders", { "data" => "2" }, id: "1-1")
      expect(next_of(got, timeout: 25)).to eq(2)
      publish(3)
      expect(next_of(got)).to eq(3)
    end

    it "go on after the group was destroyed, which is reported" do
      kept = got
      consume { |event| kept << event.data }
      publish(1)
      expect(next_of(got)).to eq(1)
      eventually { pending.zero? }
      redis.xgroup(:destroy, "orders", "billing")
      publish(2)
      expect(next_of(got, timeout: 25)).to eq(2)
      told = []
      told << next_of(errors).message until told.last&.include?("the consumer group was gone")
    end

    it "say by the outcome of an error whether the operation may have been done" do
      server = start_server
      options = { redis_options: { path: server.path, connect_timeout: 0.2 } }
      subscription = consume(**options) { |event| event }
      server.client.set("text", "no stream")
      expect { consume(stream: "text", **options) { |event| event } }
        .to raise_error(RedisIPC::CommandError) { |error| expect(error.outcome).to eq(:not_sent) }
      server.client.rename("text", "orders")
      expect { subscription.checkpoint.seek(:beginning) }
        .to raise_error(RedisIPC::CommandError) { |error| expect(error.outcome).to eq(:unknown) }
      server.kill
      eventually { outcome_of { subscription.lag } == :not_sent }
      [-> { subscription.checkpoint.position }, -> { subscription.dead_letters.to_a },
       -> { subscription.checkpoint.seek(:beginning) }].each do |asked|
        expect(&asked).to raise_error(RedisIPC::ConnectionError) { |error| expect(error.outcome).to eq(:not_sent) }
      end
      expect { subscription.pause.resume }.not_to raise_error
    end

    it "go on after an outage of Redis, which subscribers are told" do
      server = start_server(appendonly: "yes", appendfsync: "always")
      kept = got
      told = Queue.new
      subscription = RedisIPC.subscribe(:reconnect) { |one| told << one }
      options = { path: server.path, reconnect_attempts: 0 }
      consume(redis_options: options) { |event| kept << event.data }
      RedisIPC::Events.publish("orders", 1, redis_options: options)
      expect(next_of(got)).to eq(1)
      server.kill
      server.start
      eventually do
        RedisIPC::Events.publish("orders", 2, redis_options: options)
      rescue RedisIPC::ConnectionError
        # The command went over a connection from before the change.
      end
      taken = next_of(got, timeout: 25)
      # The acknowledgement of the first event may have been lost with the server.
      taken = next_of(got, timeout: 25) if taken == 1
      expect(taken).to eq(2)
      expect(next_of(told).payload).to include(stream: "orders", group: "billing", duration: be_positive)
    ensure
      RedisIPC.unsubscribe(subscription)
    end
  end
end

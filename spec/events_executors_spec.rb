# frozen_string_literal: true

# The workers that run the handlers of a consumer: threads, fibers, forked processes.
RSpec.describe "the executors of events" do
  let(:got) { Queue.new }

  def pending
    redis.xpending("orders", "billing")["size"]
  end

  def executors
    RedisIPC::Events.const_get(:Executors)
  end

  describe "handle what was taken together" do
    let(:setup) { Struct.new(:batch, :ordered?) }
    let(:delivery) { ->(_, event) { (got << event) && event != 2 } }
    let(:running) { RedisIPC.const_get(:RunningHandlers).new }
    let(:intake) { instance_double(executors.const_get(:Intake), stopping?: false, running: running) }

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

    # While handlers are quick, a thread takes up to 64 events at once.
    %i[none key].each do |order|
      it "give back the events behind one whose handler takes long (order #{order})" do
        kept = got
        gate = Queue.new
        consumer = consume(order: order, concurrency: { threads: 3 }, lease: 20) do |event|
          kept << [event.data, event.attempt]
          gate.pop if event.data == 1500
        end
        events = (0...3000).map { |number| { data: number, key: number } }
        RedisIPC::Events.publish_all("orders", events, redis_options: redis_options)
        expect(next_ones(3000)).to match_array((0...3000).map { |number| [number, 1] })
        eventually { consumer.stats[:held] == 1 }
        gate << true
        eventually { consumer.stats[:held].zero? }
        expect(got).to be_empty
      ensure
        gate.close
      end
    end

    it "keep the order of a key behind one that takes long" do
      kept = got
      gate = Queue.new
      consume(order: :key, concurrency: { threads: 3 }, lease: 20) do |event|
        kept << [event.key, event.data]
        gate.pop if event.key == "7" && event.data == 100
      end
      events = (0...200).flat_map { |number| (0...10).map { |key| { data: number, key: key } } }
      RedisIPC::Events.publish_all("orders", events, redis_options: redis_options)
      before = next_ones((9 * 200) + 101)
      expect(got).to be_empty
      gate << true
      handled = before + next_ones(99)
      expect(handled.group_by(&:first).transform_values { |of_key| of_key.map(&:last) })
        .to eq((0...10).to_h { |key| [key.to_s, (0...200).to_a] })
    ensure
      gate.close
    end
  end

  describe "fibers", gem: "async" do
    before { require "async" }

    # Makes handlers wait until `count` of them run.
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

    it "take no more events than there are fibers" do
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
      [reader, writer].each { |file| file&.close }
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

    it "own a resource each, which is closed with them; child fibers share it" do
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

    it "are refused without the gem, and if ActiveRecord would share connections between them" do
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

  describe "processes" do
    # Carries what workers report, from any process.
    let(:pipe) { IO.pipe.each { |file| file.sync = true } }

    after do
      stop_consumers
      pipe.each(&:close)
    end

    # Consumes with a handler that gets the event, and an object for reports: `say << value`.
    def consume_apart(**words, &handler)
      writer = pipe.last
      say = Object.new
      say.define_singleton_method(:<<) { |value| writer.write("#{JSON.generate(value)}\n") && self }
      # A block would split an Array of events into its arguments.
      consume(concurrency: { processes: 1 }, **words, &->(event, resource = nil) { handler.call(event, say, resource) })
    end

    def heard(count = 1)
      Array.new(count) do
        raise "nothing was said" unless pipe.first.wait_readable(10)

        JSON.parse(pipe.first.gets)
      end
    end

    def silent?
      pipe.first.wait_readable(0).nil?
    end

    def alive?(pid)
      Process.kill(0, pid)
      !File.exist?("/proc/#{pid}/stat") || File.read("/proc/#{pid}/stat").split[2] != "Z"
    rescue Errno::ESRCH, Errno::ENOENT
      false
    end

    it "share the events, none of which is handled here, and each is complete" do
      consume_apart(concurrency: { processes: 2, threads: 2 }) do |event, say|
        say << [Process.pid, event.to_h.slice("data", "type", "key", "position", "attempt", "source")]
        sleep 0.001
      end
      positions = Array.new(40) { |number| publish({ number: number, text: "ä" }, type: "t", key: number) }
      said = heard(40)
      expect(said.map(&:last)).to match_array(
        positions.each_with_index.map do |position, number|
          { "data" => { "number" => number, "text" => "ä" }, "type" => "t", "key" => number.to_s,
            "position" => position, "attempt" => 1, "source" => "orders" }
        end
      )
      expect(said.map(&:first).uniq.size).to eq(2)
      expect(said.map(&:first)).not_to include(Process.pid)
      eventually { pending.zero? }
    end

    it "get bytes as they are, and large events" do
      consume_apart(json: false) do |event, say|
        say << event.data.map { |name, value| [name, value.encoding.name, value.bytesize] }
      end
      redis.xadd("orders", { "a" => "\xFF\x00".b, "b" => "ü", "" => "x" * 2_000_000 })
      expect(heard).to eq([[["a", Encoding::BINARY.name, 2], ["b", "UTF-8", 2], ["", "UTF-8", 2_000_000]]])
    end

    it "handle batches" do
      consume_apart(batch: { size: 4, within: 0.2 }) do |events, say|
        say << events.map { |event| [event.data, event.attempt] }
        events[1].fail!("second") if events.size == 4
      end
      publish_all(0...4)
      expect(heard(2)).to eq([[[0, 1], [1, 1], [2, 1], [3, 1]], [[1, 2]]])
      eventually { pending.zero? }
    end

    it "try again what fails, discard it, or give up on it; on_error and subscribers are told there" do
      told = RedisIPC.subscribe(:event) { |one| pipe.last.puts(JSON.generate([:told, one.payload[:status]])) }
      writer = pipe.last
      subscription = consume_apart(attempts: 2, discard_on: KeyError,
                                   on_error: lambda { |error|
                                               writer.puts(JSON.generate([:error, error.message]))
                                             }) do |event, _|
        raise event.data == "drop" ? KeyError : "no #{event.data}"
      end
      publish("drop")
      expect(heard).to eq([%w[told discarded]])
      publish("bad")
      expect(heard(3)).to contain_exactly(%w[told retried], %w[told dead], ["error", "no bad"])
      expect(eventually do
               subscription.dead_letters.first
             end).to have_attributes(data: "bad", reason: "RuntimeError: no bad")
      eventually { pending.zero? }
      expect(subscription.stats).to include(taken: 2, dead_lettered: 1, held: 0)
    ensure
      RedisIPC.unsubscribe(told)
    end

    it "own a resource in each thread, which is closed with it" do
      writer = pipe.last
      make = lambda do
        Object.new.tap do |one|
          one.define_singleton_method(:close) do
            writer.puts(JSON.generate([:closed, object_id]))
          end
        end
      end
      subscription = consume_apart(resource: make) { |_, say, own| say << [:used, own.object_id] }
      publish_all([1, 2])
      used = heard(2)
      expect(used.uniq.size).to eq(1)
      subscription.stop
      expect(heard).to eq([["closed", used.first.last]])
    end

    it "are replaced when they die: running events are tried again, and those not begun count as no try" do
      subscription = consume_apart do |event, say|
        say << [event.data, event.attempt, Process.pid]
        sleep if event.data == "held" && event.attempt == 1
      end
      publish("held")
      _, _, first = heard.first
      publish("next")
      Process.kill(:KILL, first)
      said = heard(2)
      expect(said.map { |words| words.first(2) }).to contain_exactly(["held", 2], ["next", 1])
      expect(said.map(&:last)).not_to include(first)
      eventually { pending.zero? }
      expect(errors).to be_empty
      expect(subscription.stats).to include(held: 0, released: 0)
    end

    it "that die fail the event that each of their threads had begun" do
      consume_apart(concurrency: { processes: 1, threads: 2 }) do |event, say|
        say << [event.data, event.attempt]
        next if event.attempt > 1

        sleep if event.data == "waits"
        Process.kill(:KILL, Process.pid) if event.data == "kills"
      end
      publish("waits")
      expect(heard).to eq([["waits", 1]])
      publish("kills")
      expect(heard(3)).to contain_exactly(["kills", 1], ["kills", 2], ["waits", 2])
      publish("more")
      expect(heard.first.first).to eq("more")
    end

    it "may fork: a child that outlives them does not hide their death, and settles no event of theirs" do
      children = []
      consume_apart(concurrency: { processes: 1 }) do |event, say|
        child = Process.fork
        child ? say << [event.attempt, child] : sleep
        Process.kill(:KILL, Process.pid) if child && event.attempt == 1
      end
      publish(1)
      said = heard(2)
      children = said.map(&:last)
      expect(said.map(&:first)).to eq([1, 2])
      eventually { pending.zero? }
    ensure
      children.each { |pid| Process.kill(:KILL, pid) }
    end

    it "whose handler calls exit say so in the dead letter, like killed threads" do
      ended = { exit: [{ processes: 1 }, "it called exit, which ends the process"],
                kill: [{ threads: 1 }, "its thread was killed (Thread#kill)"] }
      ended.each do |way, (concurrency, why)|
        consumer = consume(group: way.to_s, concurrency: concurrency, attempts: 1) do |_event|
          way == :exit ? exit : Thread.current.kill
        end
        publish(way.to_s)
        dead = eventually { consumer.dead_letters.first }
        consumer.stop
        expect(dead.reason).to eq("RedisIPC::EventFailedError: the handler was stopped before it finished: #{why}")
      end
    end

    it "that die each time with the same event make it a dead letter with that reason; others are handled" do
      subscription = consume_apart(attempts: 3) do |event, say|
        exit!(7) if event.data == "poison"
        say << [event.data, event.attempt]
      end
      publish_all(["poison", 1, 2, 3])
      expect(heard(3)).to match_array([[1, 1], [2, 1], [3, 1]])
      expect(eventually { subscription.dead_letters.first }).to have_attributes(
        data: "poison", attempts: 3,
        reason: /WorkerDiedError: the worker process \d+ exited with status 7 while it handled the event/
      )
      expect(next_of(errors)).to be_a(RedisIPC::WorkerDiedError).and have_attributes(stream: "orders")
      eventually { pending.zero? }
    end

    it "that die with a batch cost only the event that kills them" do
      subscription = consume_apart(attempts: 3, batch: { size: 5, within: 0.1 }) do |events, say|
        Process.kill(:KILL, Process.pid) if events.any? { |event| event.data == 3 }
        say << events.map(&:data)
      end
      publish_all(0...5)
      expect(heard(4).flatten).to match_array([0, 1, 2, 4])
      expect(eventually do
               subscription.dead_letters.to_a.first
             end).to have_attributes(data: 3, reason: /killed by SIGKILL/)
      eventually { pending.zero? }
      expect(subscription.dead_letters.size).to eq(1)
    end

    it "can have a retry rule for their death" do
      subscription = consume_apart(discard_on: RedisIPC::WorkerDiedError) { |_, _| exit!(1) }
      publish(1)
      eventually { subscription.stats[:acknowledged] == 1 }
      expect(subscription.dead_letters).to be_empty
    end

    it "end when the consumer stops, after their handlers; what was not begun is handed back" do
      subscription = consume_apart(lease: 60) do |event, say|
        say << [event.data, Process.pid]
        sleep 0.3
      end
      publish_all(0...5)
      first, pid = heard.first
      subscription.stop(timeout: 20)
      expect(alive?(pid)).to be(false)
      done = [first]
      done << heard.first.first until silent?
      kept = got
      consume(lease: 60) { |event| kept << [event.data, event.attempt] }
      expect(next_ones(5 - done.size)).to match_array(((0...5).to_a - done).map { |number| [number, 1] })
    end

    it "are killed if their handlers outlast the timeout of stop, and the event is handed back as a try" do
      subscription = consume_apart(lease: 60) do |_, say|
        say << Process.pid
        sleep
      end
      publish(1)
      pid = heard.first
      subscription.stop(timeout: 0.1)
      expect(alive?(pid)).to be(false)
      kept = got
      consume(lease: 60) { |event| kept << [event.data, event.attempt] }
      expect(next_of(got)).to eq([1, 2])
      expect(errors).to be_empty
    end

    it "lose no event when their feeder thread is killed" do
      consume_apart do |event, say|
        say << event.attempt
        sleep if event.attempt == 1
      end
      publish(1)
      expect(heard).to eq([1])
      Thread.list.find { |thread| thread.name.to_s.start_with?("redis_ipc event feeder") }.kill
      expect(heard).to eq([2])
      eventually { pending.zero? }
    end

    it "go on when a thread of theirs is killed" do
      consume_apart do |event, say|
        say << [event.attempt, Process.pid]
        Thread.current.kill if event.attempt == 1
      end
      publish(1)
      said = heard(2)
      expect(said.map(&:first)).to eq([1, 2])
      expect(said.map(&:last).uniq.size).to eq(1)
    end

    it "can ask and publish, by connections of their own; no consumer or stream of the parent is connected in them" do
      connect("child", &echo)
      asker = connect("parent")
      options = redis_options
      consume(group: "other", concurrency: { processes: 1 }) { |_| nil }
      names = -> { redis.xinfo(:groups, "orders").sum { |group| group["consumers"] } }
      publish("before")
      consume_apart do |event, say|
        RedisIPC::Events.publish("done", event.data, redis_options: options)
        say << asker.send_to_group(content: event.data, to: "child").value
        consumers.last.lag
      rescue RedisIPC::NotConnectedError => e
        say << e.class.name
      end
      expect(heard(2)).to eq(["before", "RedisIPC::NotConnectedError"])
      expect(redis.xlen("done")).to eq(1)
      eventually { names.call == 2 }
      expect(asker.instances.count { |one| one[:group] == "child" }).to eq(1)
    end

    it "have no socket of ours but that to their parent" do
      skip "there is no /proc" unless File.directory?("/proc/self/fd")
      sockets = lambda do
        files = Dir.children("/proc/self/fd").filter_map do |number|
          File.readlink("/proc/self/fd/#{number}")
        rescue Errno::ENOENT
          nil
        end
        files.grep(/socket/)
      end
      redis.ping
      others = sockets.call
      consume(group: "other") { |event| event }
      connect("child", &echo)
      consume_apart { |_, say| say << (sockets.call - others).size }
      publish(1)
      expect(heard).to eq([1])
    end

    # Starts a process that consumes in workers. They report what they do.
    def consuming_apart(handler, options: "")
      ruby(<<~RUBY).tap { |process| expect(process.line).to eq("ready") }
        require "logger"
        def say(*words) = $stdout.write(words.join(" ") + "\n")
        trap("INT") { exit }
        RedisIPC.configure do |config|
          config.redis_options = { url: ENV.fetch("REDIS_URL") }
          config.logger = Logger.new(IO::NULL)
        end
        subscription = RedisIPC::Events.consume(stream: "orders", group: "billing", from: :beginning, lease: 60,
                                                concurrency: { processes: 2 }, #{options}) { |event| #{handler} }
        say("ready")
        $stdin.gets
        exit
      RUBY
    end

    it "end when their parent is killed, whatever they are doing" do
      parent = consuming_apart("say(Process.pid); event.data == 0 ? loop { } : sleep")
      publish_all([0, 1])
      workers = [parent.line, parent.line].map(&:to_i)
      expect(workers.uniq.size).to eq(2)
      parent.kill
      parent.wait
      eventually { workers.none? { |pid| alive?(pid) } }
    end

    %i[TERM INT].each do |signal|
      it "lose no event when #{signal} is sent to all processes" do
        handler = "say(Process.pid, event.data); sleep 0.2; RedisIPC::Events.publish('done', event.data)"
        parent = consuming_apart(handler)
        publish_all(0...20)
        workers = Array.new(2) { parent.line.split.first.to_i }
        [*workers, parent.pid].each { |pid| Process.kill(signal, pid) }
        parent.wait
        expect(workers).to all(satisfy { |pid| !alive?(pid) })
        done = redis.xrange("done").map { |_, fields| fields["data"].to_i }
        expect(done.size).to be_between(2, 4)
        kept = got
        consume(lease: 60) { |event| kept << [event.data, event.attempt] }
        expect(next_ones(20 - done.size)).to match_array(((0...20).to_a - done).map { |number| [number, 1] })
      end
    end

    it "of a parent that forks stay its own, and the child has others" do
      parent = ruby(<<~RUBY)
        RedisIPC.configure { |config| config.redis_options = { url: ENV.fetch("REDIS_URL") } }
        subscription = RedisIPC::Events.consume(stream: "orders", group: "billing", from: :beginning,
                                                concurrency: { processes: 1 }) do |event|
          RedisIPC::Events.publish("done", [Process.ppid, event.data])
          sleep 0.005
        end
        child = fork do
          subscription.lag
          $stdout.write("ready\n")
          $stdin.read
        end
        $stdout.write("\#{Process.pid} \#{child}\n")
        Process.wait(child)
      RUBY
      lines = [parent.line, parent.line]
      pids = lines.find { |line| line != "ready" }.split.map(&:to_i)
      publish_all(0...100)
      done = -> { redis.xrange("done").map { |_, fields| JSON.parse(fields["data"]) } }
      eventually { done.call.size == 100 }
      expect(done.call.map(&:last)).to match_array(0...100)
      expect(done.call.map(&:first).uniq).to match_array(pids)
      parent.end_input
      expect(parent.wait).to be_success
      eventually { redis.xinfo(:consumers, "orders", "billing").empty? }
    end

    it "that cannot be forked make start fail, and nothing stays connected; later they are tried again" do
      forking = Process.method(:fork)
      allow(Process).to receive(:fork).and_raise(Errno::EAGAIN)
      start = -> { consume_apart { |event, say| say << [event.data, event.attempt, Process.pid] } }
      expect(&start).to raise_error(RedisIPC::Error, /a worker process could not be forked: Resource temporarily/)
      expect(redis.xinfo(:consumers, "orders", "billing")).to eq([])
      allow(Process).to receive(:fork) { forking.call }
      start.call
      publish(1)
      *_, worker = heard.first
      eventually { pending.zero? }
      allow(Process).to receive(:fork) do
        allow(Process).to receive(:fork) { forking.call }
        raise Errno::ENOMEM
      end
      Process.kill(:KILL, worker)
      # The threads end one by one.
      eventually { Thread.list.none? { |thread| thread.name == "redis_ipc worker #{worker}" } }
      publish(2)
      expect(heard.first.first(2)).to eq([2, 1])
      expect(next_of(errors).message).to include("a worker process could not be forked: Cannot allocate memory")
      eventually { pending.zero? }
    end

    it "are refused where a system cannot fork" do
      allow(Process).to receive(:respond_to?).and_call_original
      allow(Process).to receive(:respond_to?).with(:fork).and_return(false)
      expect { consume_apart { |event, _| event } }
        .to raise_error(RedisIPC::ConfigurationError, /needs a system that can fork/)
    end
  end

  describe "ractors" do
    let(:reader) { pipe.first }
    let(:pipe) { IO.pipe }

    after do
      stop_consumers
      pipe.each(&:close)
    end

    let(:opening) do
      Module.new { def open_resource = self::Speaker.new(self::NUMBER) }
    end
    let(:speaking) do
      Module.new { def say(*words) = resource.say(*words) }
    end
    # A resource that writes lines, and reports when it is closed.
    let(:speaker) do
      Class.new do
        def initialize(number)
          @file = IO.for_fd(number, "w", autoclose: false)
          @file.sync = true
        end

        def say(*words) = @file.write("#{words.join(" ")}\n")

        def close = say("closed")
      end
    end

    # A class whose handlers write what they do to the pipe, which is the resource of each Ractor.
    def consumer_in_ractors(**words, &block)
      number = pipe.last.fileno
      opening = self.opening
      speaking = self.speaking
      speaker = self.speaker
      consumer_class(**words) do
        concurrency ractors: 2
        const_set(:NUMBER, number)
        const_set(:Speaker, speaker)
        extend(opening)
        include(speaking)
        class_eval(&block)
      end
    end

    def heard(count = 1)
      Array.new(count) do
        raise "nothing was said" unless reader.wait_readable(10)

        reader.gets.chomp
      end
    end

    if RUBY_VERSION < "3.4"
      it "are refused by an older Ruby" do
        expect { start(consumer_in_ractors { def call(event) = say(event.data) }) }.to raise_error(
          RedisIPC::ConfigurationError, /needs Ruby 3.4 or later, and this is Ruby #{RUBY_VERSION}: processes: run/
        )
      end
    else
      it "run the handlers, each in one with a resource of its own" do
        consumer = consumer_in_ractors do
          def call(event) = say(event["number"], event.type, event.key, event.attempt, Ractor.main?, resource.object_id)
        end
        start(consumer)
        20.times { |number| publish({ number: number }, type: "t", key: "k") }
        said = heard(20).map(&:split)
        expect(said.map { |words| words.first(5) })
          .to match_array(Array.new(20) { |number| [number.to_s, "t", "k", "1", "false"] })
        eventually { pending.zero? }
        consumer.stop
        expect(heard(said.map(&:last).uniq.size).uniq).to eq(["closed"])
      end

      it "leave decisions about failures to the main Ractor" do
        told = Queue.new
        subscription = RedisIPC.subscribe(:event) { |one| told << [one.payload[:status], one.payload[:error].class] }
        consumer = consumer_in_ractors do
          discard_on KeyError
          options attempts: 2
          def call(event)
            say(event.data, event.attempt)
            {}.fetch(:none) if event.data == "drop"
            event.fail!("marked") if event.data == "mark"
            raise IOError, "no" if event.data == "fail"
          end
        end
        start(consumer)
        %w[drop mark fail].each { |data| publish(data) }
        expect(heard(5)).to contain_exactly("drop 1", "mark 1", "mark 2", "fail 1", "fail 2")
        eventually { consumer.dead_letters.size == 2 }
        expect(consumer.dead_letters.map(&:reason)).to contain_exactly("IOError: no", /EventFailedError: marked/)
        expect(Array.new(5) { told.pop }).to include(["discarded", KeyError], ["dead", IOError], ["retried", IOError])
        eventually { pending.zero? }
      ensure
        RedisIPC.unsubscribe(subscription)
      end

      it "handle batches" do
        consumer = consumer_in_ractors do
          concurrency ractors: 1
          batch size: 4, within: 0.2
          def call(events)
            say(*events.map(&:data))
            events[1].fail!("second") if events.size == 4
          end
        end
        publish_all(0...4)
        start(consumer)
        expect(heard(2)).to eq(["0 1 2 3", "1"])
        eventually { pending.zero? }
      end

      it "are replaced when their thread is killed, or when they end" do
        consumer = consumer_in_ractors do
          concurrency ractors: 1
          def call(event)
            say(event.data, event.attempt)
            sleep(event.attempt == 1 ? 60 : 0) if event.data == "sleep"
            Thread.current.kill if event.data == "end" && event.attempt == 1
          end
        end
        start(consumer)
        publish("sleep")
        expect(heard).to eq(["sleep 1"])
        Thread.list.find { |thread| thread.name.to_s.start_with?("redis_ipc event worker") }.kill
        expect(heard).to eq(["sleep 2"])
        publish("end")
        expect(heard(2)).to eq(["end 1", "end 2"])
        eventually { pending.zero? }
      end
    end

    it "are refused with a Proc" do
      stub_const("RUBY_VERSION", "3.4.1")
      expect { start(consumer_in_ractors { on("paid") { |event| event } }) }
        .to raise_error(RedisIPC::ConfigurationError, /cannot run on\(type\) { }: define call\(event\)/)
      resourceful = consumer_in_ractors do
        resource { Object.new }
        def call(event) = event
      end
      expect { start(resourceful) }
        .to raise_error(RedisIPC::ConfigurationError, /cannot run resource { }: define self.open_resource/)
      expect { consume(concurrency: { ractors: 1 }) { |event| event } }
        .to raise_error(RedisIPC::ConfigurationError, /cannot run a block: define a class with call\(event\)/)
    end
  end

  describe "keep the order of each key" do
    [{ threads: 4 }, { fibers: 4 }, { processes: 2, threads: 2 }].each do |concurrency|
      it "in #{concurrency}, where handlers fail and workers die", gem: ("async" if concurrency.key?(:fibers)) do
        reader, writer = IO.pipe
        writer.sync = true
        consume(order: :key, concurrency: concurrency, attempts: 10) do |event|
          # Handlers of other keys run meanwhile.
          sleep 0.001
          raise "no" if event["number"] == 3 && event.attempt == 1

          Process.kill(:KILL, Process.pid) if concurrency.key?(:processes) && event["number"] == 5 && event.attempt == 1
          writer.puts("#{event.key} #{event["number"]}")
        end
        events = 10.times.flat_map do |number|
          %w[a b c d e f].map { |key| { data: { number: number }, key: key } }
        end
        RedisIPC::Events.publish_all("orders", events, redis_options: redis_options)
        lines = []
        # A worker that dies may have reported an event before the core knew that it is done. Such an event comes again.
        lines |= [(reader.wait_readable(10) && reader.gets) || raise("nothing was said")] until lines.size == 60
        said = lines.map(&:split).group_by(&:first)
        expect(said.transform_values { |all| all.map { |_, number| number.to_i } })
          .to eq(%w[a b c d e f].to_h { |key| [key, (0...10).to_a] })
      ensure
        stop_consumers
        [reader, writer].each(&:close)
      end
    end
  end
end

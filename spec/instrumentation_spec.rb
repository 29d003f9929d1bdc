# frozen_string_literal: true

RSpec.describe "instrumentation" do
  let(:events) { Queue.new }

  def subscribe(*names)
    kept = events
    (@subscriptions ||= []) << RedisIPC.subscribe(*names) { |event| kept << event }
  end

  after { @subscriptions&.each { |subscription| RedisIPC.unsubscribe(subscription) } }

  # Returns `count` notifications by name. That of a handler comes after the handler has ended, which may be after its
  # answer has arrived.
  def told(count)
    Array.new(count) { next_of(events) }.to_h { |event| [event.name, event.payload] }
  end

  # Returns the payloads of all notifications so far.
  def payloads
    Array.new(events.size) { events.pop }.map { |event| [event.name, event.payload] }
  end

  it "reports both sides of a call, with the same id" do
    connect("child") { |entry| fulfill_request(entry, content: entry.content) }
    parent = connect("parent")
    subscribe
    response, both = nil
    took = seconds do
      response = parent.send_to_group(content: { a: 1 }, to: "child", timeout: 10)
      both = told(2)
    end
    expect(both.keys).to contain_exactly(:request, :handle)
    expect(both[:request]).to include(stream: "house", group: "parent", to: "child", id: response.id, timeout: 10.0,
                                      status: "fulfilled", instance_id: response.instance_id)
    expect(both[:handle]).to include(stream: "house", group: "child", from: "parent", id: response.id, deliveries: 1)
    expect(both.values.map { |payload| payload[:duration] }).to all(be_between(0, took))
    expect(events).to be_empty
  end

  it "reports a timeout, with its outcome" do
    parent = connect("parent")
    subscribe(:request, :timeout)
    unclaimed { parent.send_to_group(content: 1, to: "nobody", timeout: 0.1) }
    # If there were several notifications of a name, this has the last one.
    told = payloads.to_h
    expect(told[:timeout]).to include(to: "nobody", outcome: :unclaimed, id: /\A\h{32}\z/)
    expect(told[:timeout][:duration]).to be_between(0.1, 10)
    expect(told[:request]).to include(id: told[:timeout][:id], error: RedisIPC::TimeoutError)
  end

  it "reports how an asynchronous call ended, even if nobody waits for it" do
    connect("child") { |entry| fulfill_request(entry, content: 1) }
    parent = connect("parent")
    subscribe(:request, :timeout)
    parent.async_send_to_group(content: 1, to: "child")
    expect(next_of(events).payload).to include(status: "fulfilled", to: "child", duration: a_value > 0)
    ended = nil
    unclaimed do
      future = parent.async_send_to_group(content: 1, to: "nobody", timeout: 0.1)
      ended = [next_of(events), next_of(events)]
      future.value
    end
    expect(ended.map(&:name)).to eq(%i[timeout request])
    expect(ended.map(&:payload)).to all(include(outcome: :unclaimed, to: "nobody", duration: a_value >= 0.1))
  end

  it "reports how a handler answered its request" do
    wait = method(:eventually)
    connect("child") do |entry|
      wait.call { entry.expired? } if entry.content.start_with?("late")
      fulfill_request(entry, content: 1) if entry.content.include?("fulfill")
      reject_request(entry, content: 1) if entry.content.include?("reject")
      raise ArgumentError if entry.content.include?("raise")
    end
    parent = connect("parent")
    subscribe(:handle)
    status = lambda do |content|
      parent.async_send_to_group(content: content, to: "child")
      next_of(events).payload[:status]
    end
    expect(%w[fulfill reject raise fulfillraise nothing].map(&status))
      .to eq(["fulfilled", "rejected", "rejected", "fulfilled", nil])
    late = %w[latefulfill latereject lateraise latenothing].map do |content|
      parent.async_send_to_group(content: content, to: "child", timeout: 0.5)
      next_of(events).payload[:status]
    end
    expect(late).to eq(["dropped", "dropped", "dropped", nil])
  end

  it "reports errors of handlers" do
    connect("child") { |_| raise ArgumentError, "no" }
    parent = connect("parent")
    subscribe(:handle, :error)
    response = parent.send_to_group(content: 1, to: "child")
    expect(response.error).to eq("ArgumentError")
    told = [next_of(events), next_of(events)].to_h { |event| [event.name, event.payload] }
    expect(told).to include(handle: include(error: ArgumentError, id: response.id),
                            error: include(error: ArgumentError, id: response.id, entry: RedisIPC::Entry))
  end

  it "reports take-overs and dead letters" do
    dying = ruby(<<~RUBY)
      stream = RedisIPC::Stream.new("house", "child")
      stream.on_request { |entry| puts "taken"; sleep }
      stream.connect(consumer: { lease: 0.3 })
      puts "ready"
      sleep
    RUBY
    dying.line
    parent = connect("parent")
    future = parent.async_send_to_group(content: 1, to: "child", timeout: 20)
    dying.line
    dying.kill
    subscribe(:retry)
    connect("child", consumer: { lease: 0.3 }) { |entry| fulfill_request(entry, content: 2) }
    expect(future.value).to eq(2)
    event = next_of(events)
    expect(event.payload).to include(id: future.response.id, deliveries: 2, group: "child")
    expect(event.duration).to be_between(0, 20)
  end

  it "reports dead letters" do
    parent = connect("parent")
    future = parent.async_send_to_group(content: 1, to: "child", timeout: 20)
    id, = eventually { redis.xrange("house:inbox:child").first }
    redis.xgroup(:create, "house:inbox:child", "child", "0")
    redis.xreadgroup("child", "ghost", "house:inbox:child", ">")
    redis.call("XCLAIM", "house:inbox:child", "child", "ghost", 0, id, "RETRYCOUNT", 9)
    subscribe(:dead_letter, :error)
    connect("child", consumer: { lease: 0.3 }, &echo)
    expect(future.response.error).to eq("RedisIPC::DeadLetteredError")
    told = [next_of(events), next_of(events)]
    expect(told.map(&:name)).to eq(%i[dead_letter error])
    expect(told.map(&:payload)).to all(include(group: "child", id: id, error: RedisIPC::DeadLetteredError))
    expect(told.first.duration).to be_between(0, 20)
  end

  it "reports an outage that is over" do
    server = start_server
    stream = build("lone").connect(redis_options: { path: server.path })
    subscribe(:reconnect)
    server.kill
    server.start
    expect(next_of(events).payload).to include(stream: "house", group: "lone", id: stream.instance_id,
                                               duration: a_value > 0)
  end

  it "survives a subscriber that raises" do
    connect("child", &echo)
    parent = connect("parent")
    (@subscriptions ||= []) << RedisIPC.subscribe(:request) { raise "broken" }
    expect { expect(parent.send_to_group(content: 1, to: "child").value).to eq(1) }
      .to output(/a subscriber of request raised RuntimeError: broken/).to_stderr
  end

  it "allocates nothing without subscribers" do
    connect("child", &echo)
    parent = connect("parent")
    expect(RedisIPC::OutgoingRequest).not_to receive(:new)
    expect(parent.send_to_group(content: 1, to: "child").value).to eq(1)
  end

  it "refuses unknown names, and a missing block" do
    expect { RedisIPC.subscribe(:oops) { nil } }.to raise_error(ArgumentError, /:oops; known: request, handle/)
    expect { RedisIPC.subscribe }.to raise_error(ArgumentError)
  end

  it "has the names that its page has, and no other" do
    page = File.read(File.join(__dir__, "../docs/instrumentation.md"), encoding: "UTF-8")
    names = page.scan(/^\| `:(\w+)` \|/).flatten.uniq.map(&:to_sym)
    expect(names).to match_array(RedisIPC.const_get(:Instrumentation)::NAMES)
  end

  it "never makes a call fail, whatever subscribers raise" do
    connect("child", &echo)
    process = ruby(<<~RUBY)
      $stderr = $stdout
      require "active_support"
      require "active_support/notifications"
      RedisIPC.subscribe(:request) { raise NotImplementedError, "ours" }
      ActiveSupport::Notifications.subscribe("request.redis_ipc") { |*| raise "theirs" }
      stream = RedisIPC::Stream.new("house", "parent").connect
      puts stream.send_to_group(content: 1, to: "child").value
      futures = Array.new(2) { stream.async_send_to_group(content: 2, to: "child").then { |value| value + 1 } }
      puts futures.map { |future| future.wait(10) && future.value }.inspect
      begin
        stream.send_to_group(content: 1, to: "nobody", timeout: 0.1)
      rescue RedisIPC::TimeoutError => e
        puts e.class
      end
    RUBY
    lines = process.rest.lines.map(&:chomp)
    complaints, answers = lines.partition { |line| line.start_with?("redis_ipc: a subscriber of request raised") }
    expect(answers).to eq(["1", "[3, 3]", "RedisIPC::TimeoutError"])
    expect(complaints.join).to include("ours", "theirs")
  end

  it "writes one short line to Rails's log, whatever an event is called" do
    process = ruby(<<~RUBY)
      require "logger"
      require "active_support"
      require "redis_ipc/rails/log_subscriber"
      ActiveSupport::LogSubscriber.logger = Logger.new($stdout)
      entry = Struct.new(:content).new({ event: "cook\\nFAKE" + ("y" * 200_000) })
      event = Struct.new(:payload).new({ entry: entry, from: "parent", duration: 0.001 })
      RedisIPC::OnRails::LogSubscriber.new.handle(event)
    RUBY
    expect(process.rest).to match(/\A[^\n]{1,250}\n\z/)
  end

  it "logs in Rails whether a JSON-RPC answer is an error, is too late or cannot be sent" do
    process = ruby(<<~RUBY)
      require "logger"
      require "redis"
      require "active_support"
      require "redis_ipc/rails/log_subscriber"
      format = ->(severity, _, _, line) { [severity, " ", line.sub(/ in [\\d.]+ms/, " in 1ms"), "\n"].join }
      ActiveSupport::LogSubscriber.logger = Logger.new($stdout, level: :info, formatter: format)
      RedisIPC::OnRails::LogSubscriber.attach_to(:redis_ipc)
      server = RedisIPC::JSONRPC::Server.new("calculator", threads: 1)
      server.on("sum") { |*numbers| numbers.sum }.on("fail") { raise KeyError }.on("sleep") { sleep(0.1) }
      server.on_error { nil }.connect
      client = RedisIPC::JSONRPC::Client.new("calculator").connect
      client.call("sum", 1)
      client.call("fail") rescue nil
      client.call("sleep", timeout: 0.05) rescue nil
      client.notify("sum", 1)
      Redis.new(url: ENV.fetch("REDIS_URL")).lpush("calculator", '{"jsonrpc":"2.0","method":"sum","id":1}')
      client.call("sum", 1)
      server.disconnect
    RUBY
    handled = "of calculator in 1ms"
    expect(process.rest.lines(chomp: true).grep(/Handled|Rejected/)).to eq(
      ["INFO Handled sum #{handled}", "INFO Rejected fail of calculator with KeyError in 1ms",
       "WARN Handled sleep #{handled}, too late: its deadline had passed", "INFO Handled sum #{handled}",
       "WARN Handled sum #{handled}: the answer was dropped, since the request names no reply list of this queue",
       "INFO Handled sum #{handled}"]
    )
  end

  it "goes to ActiveSupport::Notifications where that is loaded" do
    process = ruby(<<~RUBY)
      require "active_support"
      require "active_support/notifications"
      told = Queue.new
      ActiveSupport::Notifications.subscribe(/\\.redis_ipc\\z/) do |name, started, finished, _, payload|
        told << [name, (finished - started).positive?, payload[:id]]
      end
      stream = RedisIPC::Stream.new("house", "both")
      stream.on_request { |entry| fulfill_request(entry, content: 1) }
      stream.connect
      id = stream.send_to_group(content: 1, to: "both").id
      p [told.pop, told.pop].sort == [["handle.redis_ipc", true, id], ["request.redis_ipc", true, id]]
      stream.disconnect
    RUBY
    expect(process.line).to eq("true")
  end

  describe "of JSON-RPC" do
    def serve(**options)
      rpc_server(**options) do |server|
        server.on("sum") { |*numbers| numbers.sum }
        server.on("fail") { raise ArgumentError, "no" }
        server.on("refuse") { raise RedisIPC::JSONRPC::Error.new("no", code: 7) }
      end
    end

    it "reports both sides of a call, with the same id" do
      serve
      client = rpc_client
      subscribe
      client.call("sum", 1, 2, timeout: 3)
      told = payloads.to_h
      expect(told.keys).to contain_exactly(:request, :handle)
      expect(told[:request]).to include(queue: "calculator", method: "sum", params: [1, 2], timeout: 3.0,
                                        status: "fulfilled", id: 1, reply_to: /\Acalculator:reply:/)
      expect(told[:handle]).to include(queue: "calculator", method: "sum", id: 1, from: told[:request][:reply_to])
      expect(told[:handle][:invocation]).to have_attributes(name: "sum", params: [1, 2], notification?: false)
      expect(told[:handle][:duration]).to be_between(0, told[:request][:duration])
    end

    it "reports notifications and batches, each method by itself" do
      serve
      client = rpc_client
      subscribe
      client.notify("sum", 1)
      client.batch { |batch| batch.call("sum", 1) && batch.notify("sum", 2) }
      client.batch { |batch| batch.notify("sum", 2) }
      requests, handled = Array.new(7) { next_of(events).payload }.partition { |told| told.key?(:timeout) }
      expect(requests.map { |told| told[:status] }).to eq(%w[sent fulfilled sent])
      expect(requests.map { |told| told[:batch]&.size }).to eq([nil, 2, 1])
      expect(handled.map { |told| told[:id] }).to contain_exactly(nil, 2, nil, nil)
    end

    it "reports errors, expected and unexpected" do
      serve
      client = rpc_client
      subscribe
      expect { client.call("refuse") }.to raise_error(RedisIPC::JSONRPC::Error)
      told = payloads.to_h
      expect(told[:request]).to include(status: "rejected", id: 1, error: have_attributes(code: 7))
      expect(told[:handle]).to include(error: have_attributes(code: 7))
      expect { client.call("fail") }.to raise_error(RedisIPC::JSONRPC::Error, "Internal error")
      told = payloads.to_h
      expect(told[:handle]).to include(method: "fail", error: ArgumentError)
      expect(told[:error]).to include(queue: "calculator", method: "fail", id: 2, error: ArgumentError)
    end

    it "reports how a method's request was answered" do
      go = Queue.new
      serve.on("nan") { Float::NAN }.on("slow") { |_| go.pop }.on("slow and wrong") { |_| go.pop && raise("no") }
           .on("unmapped") { raise KeyError }.map_error(KeyError, code: 7) { raise "a mapping that fails" }
      client = rpc_client
      subscribe(:handle)
      told = lambda do |method, *params|
        client.call(method, *params)
        next_of(events).payload
      rescue RedisIPC::JSONRPC::Error
        next_of(events).payload
      end
      ends = [%w[sum], %w[fail], %w[refuse], %w[nan], %w[unmapped]].map { |call| told.call(*call) }
      expect(ends.map { |payload| payload[:status] }).to eq(%w[fulfilled rejected rejected rejected rejected])
      expect(ends[3]).to include(error: RedisIPC::ContentError)

      client.notify("sum", 1)
      client.notify("fail")
      expect(Array.new(2) { next_of(events).payload }).to all(satisfy { |payload| payload[:status].nil? })

      redis_ms = -> { redis.time.then { |seconds, micros| (seconds * 1000) + (micros / 1000) } }
      late = ["slow", "slow and wrong"].map do |method|
        expect { client.call(method, 1, timeout: 0.3) }.to raise_error(RedisIPC::TimeoutError)
        # Each end knows Redis's clock only as precisely as it could read it: to some 10 ms on a busy machine.
        ended = redis_ms.call
        eventually { redis_ms.call > ended + 300 }
        go << 1
        next_of(events).payload[:status]
      end
      expect(late).to eq(%w[late late])

      ["", ',"reply_to":"elsewhere"'].each { |to| push(%({"jsonrpc":"2.0","method":"sum","id":1#{to}})) }
      expect(Array.new(2) { next_of(events).payload[:status] }).to eq(%w[dropped dropped])
    end

    it "reports how each request of a batch was answered" do
      serve
      client = rpc_client
      subscribe(:handle)
      client.batch { |batch| batch.call("sum") && batch.call("fail") && batch.notify("sum") }
      expect(Array.new(3) { next_of(events).payload[:status] }).to eq(["fulfilled", "rejected", nil])
    end

    it "does not report an answer in the child of a method that forked, because the answer is the parent's" do
      process = ruby(<<~RUBY)
        parent = Process.pid
        RedisIPC.subscribe(:handle) { |event| puts [Process.pid == parent, event.payload[:status]].inspect }
        server = RedisIPC::JSONRPC::Server.new("calculator").on("fork") { (pid = fork) && Process.wait(pid) && 1 }
        server.connect
        RedisIPC::JSONRPC::Client.new("calculator").connect.call("fork")
      RUBY
      expect(process.rest.lines(chomp: true)).to eq(["[false, nil]", '[true, "fulfilled"]'])
    end

    it "reports a timeout, with its outcome" do
      client = rpc_client
      subscribe
      expect { client.call("sum", timeout: 0.1) }.to raise_error(RedisIPC::TimeoutError)
      expect(payloads.map(&:first)).to eq(%i[timeout request])
      unclaimed { client.call("sum", timeout: 0.1) }
      # If there were several notifications of a name, this has the last one.
      told = payloads.to_h
      expect(told[:timeout]).to include(method: "sum", outcome: :unclaimed, id: be >= 2, duration: a_value >= 0.1)
      expect(told[:request]).to include(outcome: :unclaimed, error: RedisIPC::TimeoutError)
    end

    it "reports dead letters, and an outage that is over" do
      push(%({"jsonrpc":"2.0","method":"sum","params":[1],"id":1}))
      redis.call("LMOVE", "calculator", "calculator:processing:ghost", "RIGHT", "LEFT")
      redis.zadd("calculator:servers", 1, "ghost")
      subscribe(:dead_letter, :reconnect)
      serve(max_deliveries: 1, lease: 0.3)
      expect(next_of(events).payload).to include(queue: "calculator", error: RedisIPC::DeadLetteredError)
      redis.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
      expect(next_of(events).payload).to include(queue: "calculator", duration: a_value > 0)
    end

    it "reports requests that come by a stream, under both names" do
      server = build_server { nil }.on("sum") { |*numbers| numbers.sum }
      stream = build("child")
      server.attach(stream)
      stream.connect(redis_options: redis_options)
      subscribe(:handle)
      content = { jsonrpc: "2.0", method: "sum", params: [1], id: "x" }
      expect(connect("parent").send_to_group(content: content, to: "child").value).to include(result: 1)
      told = [next_of(events).payload, next_of(events).payload]
      expect(told).to match([include(queue: "calculator", id: "x"), include(stream: "house", from: "parent")])
    end
  end

  describe "middleware" do
    it "surrounds calls and handlers: first the global, then that of the stream, then that of the call" do
      order = []
      child = build("child") { |entry| (order << :handled) && fulfill_request(entry, content: entry.content) }
      child.around_handler { |entry, handler| (order << [:inner, entry.source_group]) && handler.call }
      child.connect(redis_options: redis_options)
      parent = connect("parent")
      parent.around_request do |request, call|
        request.content += 1
        order << :asked
        call.call
      end
      outer = ->(_, handler) { (order << :outer) && handler.call }
      RedisIPC.around_handler(outer)
      expect(parent.send_to_group(content: 1, to: "child").value).to eq(2)
      expect(parent.async_send_to_group(content: 2, to: "child").value).to eq(3)
      expect(order).to eq([:asked, :outer, [:inner, "parent"], :handled] * 2)
    ensure
      RedisIPC.handler_middleware.remove(outer)
    end

    it "may reject by raising, and may answer in place of the other side" do
      child = build("child", &echo)
      child.around_handler { |entry, handler| entry.content == "bad" ? raise(ArgumentError, "bad") : handler.call }
      child.connect(redis_options: redis_options)
      parent = connect("parent")
      parent.around_request { |request, call| request.content == "known" ? :cached : call.call }
      expect(parent.send_to_group(content: "bad", to: "child").reason).to eq("ArgumentError: bad")
      expect(parent.send_to_group(content: "known", to: "child")).to eq(:cached)
    end

    it "is inherited by channels" do
      order = []
      base = Class.new(RedisIPC::Channel) do
        stream "house"
        around_handler { |_, handler| (order << :base) && handler.call }
        around_request { |_, call| (order << :asked) && call.call }
      end
      kitchen = Class.new(base) do
        channel "kitchen"
        around_handler { |_, handler| (order << :own) && handler.call }
        event("cook") { "soup" }
      end
      kitchen.connect(redis_options: redis_options)
      expect(kitchen.trigger_event("cook", target: "kitchen").value).to eq("soup")
      expect(order).to eq(%i[asked base own])
    ensure
      kitchen&.disconnect
    end
  end

  describe "middleware of JSON-RPC" do
    it "surrounds calls and methods: first the global, then that of the server, then that of the method" do
      order = []
      server = build_server.on("add") { |*numbers| (order << :run) && numbers.sum }
      server.around_method { |invocation, run| (order << [:inner, invocation.params]) && run.call }
      server.connect
      client = rpc_client
      client.around_call do |outgoing, call|
        order << [outgoing.names, outgoing.timeout]
        outgoing.timeout ||= 3
        outgoing.params += [1] unless outgoing.batch?
        call.call
      end
      outer = ->(invocation, run) { (order << [:outer, invocation.id]) && run.call }
      RedisIPC::JSONRPC.around_method(outer)
      subscribe(:request)
      expect(client.call("add", 1)).to eq(2)
      expect(client.batch { |batch| 2.times { |number| batch.call("add", number) } }).to eq([0, 1])
      expect(order).to eq([[["add"], nil], [:outer, 1], [:inner, [1, 1]], :run, [%w[add add], nil],
                           [:outer, 2], [:inner, [0]], :run, [:outer, 3], [:inner, [1]], :run])
      expect(payloads.map { |_, payload| payload[:timeout] }).to eq([3, 3])
    ensure
      RedisIPC::JSONRPC.method_middleware.remove(outer)
    end

    it "may answer in place of the method, refuse, and answer in place of the server" do
      server = build_server.on("add") { |*numbers| numbers.sum }
      server.around_method do |invocation, run|
        raise RedisIPC::JSONRPC::Error.new("closed", code: 8) if invocation.params == [1]

        run.call * 10
      end
      server.connect
      client = rpc_client
      caching = ->(outgoing, call) { outgoing.params == [2] ? :cached : call.call }
      RedisIPC::JSONRPC.around_call(caching)
      expect { client.call("add", 1) }.to raise_error(RedisIPC::JSONRPC::Error, "closed")
      expect(client.call("add", 2)).to eq(:cached)
      expect(client.call("add", 3)).to eq(30)
    ensure
      RedisIPC::JSONRPC.call_middleware.remove(caching)
    end

    it "cannot set an invalid timeout" do
      client = rpc_client
      client.around_call do |outgoing, call|
        outgoing.timeout = 0
        call.call
      end
      expect { client.call("add") }.to raise_error(ArgumentError, /timeout/)
    end
  end

  describe "the correlation id" do
    def with_id(stream, id)
      stream.around_request { |request, call| (request.correlation_id = id) && call.call }
    end

    def sent_by(stream)
      stream.async_send_to_group(content: 1, to: "nobody")
      eventually { redis.xrange("house:inbox:nobody").first }.last
    end

    it "is set by middleware, and appears on the wire, in the handler and in the notifications of both sides" do
      seen = Queue.new
      connect("child") { |entry| (seen << entry.correlation_id) && fulfill_request(entry, content: 1) }
      parent = with_id(connect("parent"), "order-42")
      subscribe(:request, :handle)
      parent.send_to_group(content: 1, to: "child")
      parent.async_send_to_group(content: 1, to: "child").value
      expect([next_of(seen), next_of(seen)]).to eq(%w[order-42 order-42])
      expect(Array.new(4) { next_of(events).payload }).to all(include(correlation_id: "order-42"))
      expect(sent_by(parent)).to include("correlation_id" => "order-42")
    end

    it "is missing if nobody sets it, or if it is invalid" do
      expect(sent_by(connect("parent"))).not_to include("correlation_id")
      seen = Queue.new
      connect("child") { |entry| (seen << entry.correlation_id) && fulfill_request(entry, content: 1) }
      said = ["two words", "line\nbreak", "\xff".b, "", "ü", :symbol, 7, "x" * 256, "x" * 255]
      parent = connect("asker")
      parent.around_request { |request, call| (request.correlation_id = said.shift) && call.call }
      subscribe(:handle)
      9.times { parent.send_to_group(content: 1, to: "child") }
      expect(Array.new(9) { next_of(seen) }).to eq(([nil] * 8) + ["x" * 255])
      expect(Array.new(9) { next_of(events).payload.key?(:correlation_id) }.tally).to eq({ false => 8, true => 1 })
    end

    it "is not taken from an invalid entry" do
      seen = Queue.new
      child = connect("child") { |entry| (seen << entry.correlation_id) && fulfill_request(entry, content: 1) }
      fields = { id: "1", instance_id: "i", status: "pending", content: "1", source_group: "a", ttl: 60_000,
                 destination_group: "child", reply_to: "house:replies:a:i" }
      ["fine", "two words", "[forged] line\nERROR", "\xff".b, "x" * 256].each do |id|
        redis.xadd("house:inbox:child", { **fields, correlation_id: id })
      end
      redis.xadd("house:inbox:child", fields)
      expect(Array.new(6) { next_of(seen) }.tally).to eq({ "fine" => 1, nil => 5 })
      expect(child).to be_connected
    end

    it "is a member of each JSON-RPC request, and of what runs for it" do
      seen = Queue.new
      rpc_server do |server|
        server.on("look") { 1 }
        server.around_method { |invocation, run| (seen << invocation.correlation_id) && run.call }
      end
      client = rpc_client
      client.call("look")
      ids = ["order-42", "order-43", "no name"]
      client.around_call { |outgoing, call| (outgoing.correlation_id = ids.shift) && call.call }
      subscribe(:request, :handle)
      client.call("look")
      client.batch { |batch| batch.call("look") && batch.notify("look") }
      client.call("look")
      expect(Array.new(5) { next_of(seen) }).to match([nil, "order-42", "order-43", "order-43", nil])
      asked, handled = Array.new(7) { next_of(events) }.partition { |event| event.name == :request }
      expect(asked.map { |event| event.payload[:correlation_id] }).to eq(["order-42", "order-43", nil])
      expect(handled.map { |event| event.payload[:correlation_id] }).to eq(["order-42", "order-43", "order-43", nil])
      expect(handled.last.payload).not_to have_key(:correlation_id)
    end
  end

  describe "OpenTelemetry" do
    it "that fails does not make calls fail" do
      connect("child", &echo)
      parent = connect("parent")
      broken = Module.new { def self.propagation = raise("broken") }
      stub_const("OpenTelemetry", broken)
      expect { expect(parent.send_to_group(content: 1, to: "child").value).to eq(1) }.to output(/broken/).to_stderr
    end

    let(:context) { "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" }

    it "has its context carried across" do
      stub_const("OpenTelemetry", FakeOpenTelemetry)
      seen = Queue.new
      connect("child") do |entry|
        seen << [FakeOpenTelemetry::Context.current, entry.traceparent]
        fulfill_request(entry, content: 1)
      end
      parent = connect("parent")
      FakeOpenTelemetry::Context.with_current(context) do
        parent.send_to_group(content: 1, to: "child")
        parent.async_send_to_group(content: 1, to: "child").value
      end
      parent.send_to_group(content: 1, to: "child")
      expect(Array.new(3) { next_of(seen) }).to eq([[context, context], [context, context], [nil, nil]])
    end

    it "is a field of the request on the wire" do
      stub_const("OpenTelemetry", FakeOpenTelemetry)
      parent = connect("parent")
      FakeOpenTelemetry::Context.with_current(context) { parent.async_send_to_group(content: 1, to: "child") }
      _, fields = eventually { redis.xrange("house:inbox:child").first }
      expect(fields).to include("traceparent" => context)
    end

    it "leaves no field if it is not loaded" do
      parent = connect("parent")
      parent.async_send_to_group(content: 1, to: "child")
      _, fields = eventually { redis.xrange("house:inbox:child").first }
      expect(fields).not_to include("traceparent")
    end

    describe "of JSON-RPC" do
      # Starts a server whose method returns the trace context in which it ran.
      def serve
        seen = Queue.new
        rpc_server do |server|
          server.on("look") { |*| (seen << FakeOpenTelemetry::Context.current) && nil }
          server.around_method { |invocation, run| (seen << invocation.traceparent) && run.call }
        end
        seen
      end

      def requests
        eventually { redis.lrange("calculator", 0, -1).reverse.then { |all| all unless all.empty? } }
      end

      it "is carried across: by a call, a notification and each request of a batch" do
        stub_const("OpenTelemetry", FakeOpenTelemetry)
        seen = serve
        client = rpc_client
        FakeOpenTelemetry::Context.with_current(context) do
          client.call("look")
          client.notify("look")
          client.batch { |batch| batch.call("look") && batch.notify("look") }
          client.batch { |batch| batch.notify("look") }
        end
        expect(Array.new(10) { next_of(seen) }.uniq).to eq([context])
        client.call("look")
        client.batch { |batch| batch.call("look") }
        expect(Array.new(4) { next_of(seen) }.uniq).to eq([nil])
      end

      it "is a member of each request on the wire, where there is a context" do
        stub_const("OpenTelemetry", FakeOpenTelemetry)
        client = rpc_client
        FakeOpenTelemetry::Context.with_current(context) do
          client.notify("look", 1)
          client.batch { |batch| 2.times { batch.notify("look") } }
        end
        client.notify("look", 1)
        request = { jsonrpc: "2.0", method: "look" }
        expect(requests).to eq([JSON.generate({ **request, params: [1], traceparent: context }),
                                JSON.generate([{ **request, traceparent: context }] * 2),
                                JSON.generate({ **request, params: [1] })])
      end

      it "is the innermost one: of a span that middleware makes; middleware may replace it" do
        stub_const("OpenTelemetry", FakeOpenTelemetry)
        client = rpc_client
        client.around_call { |_, call| FakeOpenTelemetry::Context.with_current(context) { call.call } }
        client.notify("look")
        client.around_call { |outgoing, call| (outgoing.traceparent = context.sub("-01", "-00")) && call.call }
        client.batch { |batch| batch.notify("look") }
        sent = requests.flat_map { |text| JSON.parse(text) }
        expect(sent.map { |request| request["traceparent"] }).to eq([context, context.sub("-01", "-00")])
      end

      it "changes no byte if it is not loaded" do
        rpc_client.notify("look", 1)
        expect(requests).to eq(['{"jsonrpc":"2.0","method":"look","params":[1]}'])
      end

      it "that fails does not make calls fail" do
        rpc_server { |server| server.on("sum") { |*numbers| numbers.sum } }
        client = rpc_client
        stub_const("OpenTelemetry", Module.new { def self.propagation = raise("broken") })
        expect { expect(client.call("sum", 1)).to eq(1) }.to output(/broken/).to_stderr
        request = { jsonrpc: "2.0", method: "sum", params: [2], id: 1, reply_to: JSONRPCEnds::REPLY_TO }
        expect { push(JSON.generate({ **request, traceparent: context })) && pop }.to output(/broken/).to_stderr
      end

      it "that is none is ignored" do
        stub_const("OpenTelemetry", FakeOpenTelemetry)
        seen = serve
        bad = [1, {}, nil, "", "00 01", "\u00e9", "0" * 129]
        bad.each do |traceparent|
          push(JSON.generate({ jsonrpc: "2.0", method: "look", id: 1, traceparent: traceparent,
                               reply_to: JSONRPCEnds::REPLY_TO }))
          expect(JSON.parse(pop)).to include("result" => nil)
        end
        expect(Array.new(seen.size) { seen.pop }).to eq([nil] * bad.size * 2)
        # OpenTelemetry decides whether the text is valid.
        push(JSON.generate({ jsonrpc: "2.0", method: "look", traceparent: "nonsense" }))
        expect(Array.new(2) { next_of(seen) }).to eq(["nonsense", nil])
      end

      it "reaches only middleware if OpenTelemetry is not loaded" do
        seen = serve
        push(JSON.generate({ jsonrpc: "2.0", method: "look", traceparent: context }))
        expect(Array.new(2) { next_of(seen) }).to eq([context, nil])
      end

      it "also comes by a stream: that of the request, otherwise that of the stream" do
        stub_const("OpenTelemetry", FakeOpenTelemetry)
        seen = Queue.new
        server = build_server.on("look") { (seen << FakeOpenTelemetry::Context.current) && nil }
        stream = build("child")
        server.attach(stream)
        stream.connect(redis_options: redis_options)
        own = context.sub("-01", "-00")
        request = { jsonrpc: "2.0", method: "look", id: 1 }
        parent = connect("parent")
        FakeOpenTelemetry::Context.with_current(context) do
          parent.send_to_group(content: request, to: "child")
          parent.send_to_group(content: { **request, traceparent: own }, to: "child")
        end
        expect(Array.new(2) { next_of(seen) }).to eq([context, own])
      end
    end
  end

  it "lets middleware of the process surround the handlers of all consumers, outside of a class's own" do
    order = Queue.new
    link = ->(event, handler) { (order << [:process, event.data]) && handler.call }
    RedisIPC::Events.around_event(link)
    consume(around_event: ->(_, handler) { (order << :own) && handler.call }) { order << :handler }
    publish(7)
    expect(Array.new(3) { next_of(order) }).to eq([[:process, 7], :own, :handler])
  ensure
    RedisIPC::Events.event_middleware.remove(link)
  end
end

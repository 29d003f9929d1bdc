# frozen_string_literal: true

require "open3"
require "rbs"
require "yard"

RSpec.describe "the signatures in sig/" do
  root = File.expand_path("..", __dir__)

  def environment_of(folder)
    loader = RBS::EnvironmentLoader.new
    loader.add(path: Pathname(folder))
    RBS::Environment.from_loader(loader).resolve_type_names
  end

  # Returns the paths that the API pages leave out.
  def private_paths(root)
    YARD::Registry.clear
    YARD.parse(File.join(root, "lib/**/*.rb"))
    YARD::Registry.all(:method).select { |method| hidden?(method) }.map(&:path)
  end

  def hidden?(method)
    [method, method.namespace, *ancestors(method.namespace)].any? do |object|
      object.has_tag?(:api) && object.tag(:api).text == "private"
    end
  end

  def ancestors(object)
    object.parent.nil? || object.parent.root? ? [] : [object.parent, *ancestors(object.parent)]
  end

  it "are valid" do
    command = [RbConfig.ruby, Gem.bin_path("rbs", "rbs"), "-I", File.join(root, "sig"), "validate"]
    output, status = Open3.capture2e(*command)
    expect(status).to be_success, output
  end

  it "name every public method and no other, with what it takes", gem: "rails" do
    builder = RBS::DefinitionBuilder.new(env: environment_of(File.join(root, "sig")))
    declared = PublicMethods.declared(builder)
    # Rails calls the methods of LogSubscriber and of the railtie.
    defined = PublicMethods.defined(File.join(root, "lib")).except(*private_paths(root))
                           .reject { |path, _| path.match?(/LogSubscriber|Railtie/) }

    expect(defined).to include("RedisIPC::Stream#connect" => [%i[keyrest options]],
                               "RedisIPC::Channel.event" => [%i[req name], %i[key params], [:block]])
    expect(declared.keys).to match_array(defined.keys)
    taking = defined.transform_values { |parameters| [parameters] }
    expect(declared.reject { |path, shapes| shapes == taking[path] })
      .to eq(taking.reject { |path, shapes| shapes == declared[path] })
  end

  # RBS wraps each method, and compares its arguments and results with the signature.
  it "are right wherever the API is used" do
    checked = %w[Configuration Stream Lifecycle HandlerContext Channel Entry Response Future ChainedFuture
                 Notification OutgoingRequest Error CallError TimeoutError RejectedError DeadLetters DeadLetter
                 JSONRPC::Endpoint JSONRPC::Server JSONRPC::Client JSONRPC::Batch JSONRPC::Invocation
                 JSONRPC::OutgoingCall JSONRPC::Error ChangeEvent Events Events::Consumer Events::Subscription
                 Events::DeadLetters Events::DeadLetter
                 Admin Admin::Value Admin::Group Admin::Instance Admin::Request Admin::Answer Admin::Node
                 Admin::DeadLetter Admin::Trace Admin::Overview Admin::Finding]
    target = checked.map { |name| "RedisIPC::#{name}" }.join(",")
    environment = { RUBYOPT: "-rrbs/test/setup", RBS_TEST_LOGLEVEL: "error", RBS_TEST_RAISE: "true",
                    RBS_TEST_OPT: "-I #{root}/sig", RBS_TEST_TARGET: target }
    process = ruby(<<~RUBY, **environment)
      class Kitchen < RedisIPC::Channel
        stream "household"
        channel :kitchen
        on_error { nil }
        around_handler { |entry, handler| handler.call }
        event("cook", params: [:dish]) do
          [params.fetch(:dish), source_group,
           stream_name, group_name, instance_id, entry.id, entry.redis_id, entry.status, entry.content, entry.pending?,
           entry.deadline.to_i, entry.expired?, entry.age, entry.traceparent, entry.deliveries, entry.redelivered?, entry.inspect]
        end
        event("fail") { raise "no" }
      end
      RedisIPC.configure do |configuration|
        configuration.redis_options = { url: ENV.fetch("REDIS_URL") }
        configuration.connect_options = { pool_size: 3 }
        configuration.logger = nil
        configuration.shutdown_timeout = 2.5
        [configuration.redis_options, configuration.connect_options, configuration.logger, configuration.shutdown_timeout,
         configuration.inspect]
      end
      subscription = RedisIPC.subscribe(:handle) { |told| [told.name, told.duration, told.payload, told.inspect] }
      Kitchen.connect
      response = Kitchen.trigger_event(:cook, target: "kitchen", params: { dish: "pasta" }, timeout: 5)
      [response.fulfilled?, response.value!, response.reason, response.error, response.id, response.redis_id, response.inspect]
      Kitchen.trigger_event("fail", target: :kitchen).reason
      future = Kitchen.async_trigger_event("cook", target: "kitchen", params: { "dish" => 1 })
      chained = future.then { |value| value.size }
      [future.wait, future.settled?, future.value!, future.response, future.inspect, chained.wait(5), chained.value, chained.settled?]
      [Kitchen.stats, Kitchen.connected?, Kitchen.stream_name, Kitchen.group_name, RedisIPC.unsubscribe(subscription)]
      stream = RedisIPC::Stream.new("household", :attic)
      stream.on_request { |entry| [stream_name, group_name, stream, instance_id, inspect] && reject_request(entry, content: 1) }.on_error { nil }.around_request { |_, call| call.call }
      stream.connect(pool_size: 2)
      rejected = stream.send_to_group(content: nil, to: "attic")
      begin
        rejected.value!
      rescue RedisIPC::RejectedError => e
        [e.response, e.group, e.stream, e.message]
      end
      begin
        stream.send_to_group(content: nil, to: "nobody", timeout: 0.05)
      rescue RedisIPC::TimeoutError => e
        [e.outcome, e.redis, e.entry_id]
      end
      [stream.async_send_to_group(content: 1, to: :attic, timeout: 5).response, stream.stats, stream.connected?]
      admin = RedisIPC::Admin.new(streams: "household", queues: ["rpc"], redis_options: { url: ENV.fetch("REDIS_URL") })
      admin.groups("household").each { |group| [group.to_h, group.paused?, group.known?, group.path] }
      admin.instances("household", group: "attic").each { |one| [one.to_json, one.alive?, one.serves?, one.oldest, one.name] }
      [admin.requests("household", "attic"), admin.trace("household", "x").found?, admin.redis.first.memory_share]
      [admin.pause("household", "attic", by: "me"), admin.resume("household", "attic"), admin.tap("household", "attic", wait: 0.01)]
      [admin.request("household", "kitchen", 1, event: "cook").fulfilled?, admin.findings, admin.overview.to_h, admin.clean("household")]
      [admin.dead_letters("household", "attic"), admin.queue_dead("rpc"), admin.queues, admin.event_groups, admin.close]
      require "redis"
      Redis.new(url: ENV.fetch("REDIS_URL")).xadd("household:inbox:attic", { "hello" => "world" })
      dead = stream.dead_letters(group: :attic)
      Thread.pass until dead.size == 1
      [dead.group, dead.empty?, dead.inspect, dead.each.size]
      dead.each do |letter|
        [letter.id, letter.group, letter.request_id, letter.redis_id, letter.reason, letter.deliveries, letter.died_at,
         letter.source_group, letter.instance_id, letter.content, letter.raw_content, letter.inspect, letter.discard]
      end
      [stream.instances, stream.instance_id, stream.stream_name, stream.group_name, stream.inspect, stream.dead_letters.to_a]
      RedisIPC.around_request(->(request, call) { request.timeout ||= 5 and [request.to, request.content, request.correlation_id] and call.call })
      RedisIPC.around_handler(Class.new { def call(entry, handler) = handler.call }.new)
      stream.around_handler { |entry, handler| entry.correlation_id and handler.call or handler.call }
      stream.send_to_group(content: 1, to: "attic")
      stream.disconnect(timeout: 1)
      Kitchen.disconnect
      server = RedisIPC::JSONRPC::Server.new("sums", threads: 2)
      server.on("sum") { |*numbers| numbers.sum }.on(:fail) { raise RedisIPC::JSONRPC::Error.new("no", code: 7, data: { a: 1 }) }
      server.expose(Class.new { def hello(name:) = name }.new, only: [:hello], prefix: "say.").map_error(KeyError, code: 8) { |error| error.message }
      server.around_method do |invocation, method|
        [invocation.queue, invocation.name, invocation.params, invocation.id, invocation.reply_to, invocation.traceparent,
         invocation.correlation_id, invocation.notification?, invocation.inspect]
        method.call
      end
      server.on_error { nil }.connect
      client = RedisIPC::JSONRPC::Client.new(:sums, timeout: 5).connect
      client.around_call do |outgoing, call|
        outgoing.params = outgoing.params unless outgoing.batch?
        outgoing.correlation_id = "x"
        [outgoing.queue, outgoing.timeout, outgoing.traceparent, outgoing.correlation_id, outgoing.names, outgoing.name, outgoing.params, outgoing.inspect]
        call.call
      end
      [client.call("sum", 1, 2), client.call("say.hello", name: "you", timeout: 1), client.request("sum", [1]), client.notify("sum"), client.queue, client.inspect]
      client.batch(timeout: 2) { |batch| [batch.call("sum", 1), batch.request("sum", [1]), batch.notify("sum", 1)] }
      begin
        client.call("fail")
      rescue RedisIPC::JSONRPC::Error => e
        [e.code, e.data, e.to_h, e.received?, e.stream]
      end
      [server.guarantee, server.threads, server.answer({ jsonrpc: "2.0", method: "sum", id: 1 }), server.stats, server.queue, server.inspect]
      [client.disconnect, server.disconnect]
      class Billing < RedisIPC::Events::Consumer
        stream :orders, group: "billing", from: :beginning, json: nil
        order(:none).concurrency(threads: 2)
        retry_on(KeyError, wait: 0, attempts: 2).discard_on IOError
        options(attempts: 1).around_event { |event, handler| event and handler.call }
        resource { [] }.on_error { nil }
        on("order.created") do |event|
          resource << event
          [event.source, event.kind, event.operation, event.type, event.key, event.data, event.old, event.changes, event[:id],
           event.fetch("id"), event.fetch(:none, 1), event.fetch(:none) { |name| name }, event.dig(:id), event.position,
           event.occurred_at, event.received_at, event.guarantee, event.attempt, event.redelivered?, event.fence,
           event.transaction, event.metadata, event.to_h, event.inspect]
        end
        def call(event) = event.fail!("no")
      end
      Billing.start
      RedisIPC::Events.publish(:orders, { id: 7 }, type: "order.created", key: 7, maxlen: 100)
      RedisIPC::Events.publish_all("orders", [{ data: 1 }, { data: 2, type: "other" }])
      letters = Billing.dead_letters
      Thread.pass until letters.size == 2
      [letters.group, letters.empty?, letters.inspect, letters.each.size]
      letters.each do |letter|
        [letter.id, letter.position, letter.reason, letter.attempts, letter.died_at, letter.fields, letter.type, letter.key, letter.data, letter.inspect]
      end
      [letters.first.discard, letters.first.retry]
      [Billing.pause.paused?, Billing.resume.running?, Billing.stats, Billing.lag, Billing.stop(timeout: 1)]
      log = RedisIPC::Events.consume(stream: "orders", group: "log", batch: { size: 5 }) { |events| events.each(&:position) }
      [log.stream_name, log.group_name, log.pause, log.paused?, log.resume, log.running?, log.stats, log.lag, log.dead_letters, log.inspect, log.stop]
      got = Queue.new
      live = Class.new(RedisIPC::Events::Consumer) { channel("prices", :rates).order(:source).on_loss { |loss| got << loss } }
      live.define_method(:call) { |event| got << [event.source, event.position, event.key, event.metadata, event.to_h, event.inspect] }
      live.start
      prices = RedisIPC::Events.consume(pattern: ["pri*"]) { |event| got << event.type }
      Redis.new(path: RedisIPC.configuration.redis_options[:path]).publish("prices", "1")
      2.times { got.pop }
      [prices.stream_name, prices.group_name, prices.stats, prices.stop, live.stop]
      puts "done"
    RUBY
    expect(process.rest).to end_with("done\n")
  end
end

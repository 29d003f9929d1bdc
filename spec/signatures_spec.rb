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

  def documented(root)
    YARD::Registry.clear
    YARD.parse(File.join(root, "lib/redis_ipc/**/*.rb"))
    YARD.parse(File.join(root, "lib/redis_ipc.rb"))
    YARD::Registry.all(:method).select { |method| public?(method) }
  end

  def public?(method)
    return false unless method.visibility == :public

    [method, method.namespace].concat(ancestors(method.namespace)).none? do |object|
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

  it "name every public method, and no other" do
    builder = RBS::DefinitionBuilder.new(env: environment_of(File.join(root, "sig")))
    undefined = documented(root).reject { |method| signature?(builder, method) }
    # LogSubscriber is what Rails calls, and Process._fork Ruby.
    undefined.reject! { |method| method.path.match?(/LogSubscriber|Railtie/) }
    expect(undefined.map(&:path)).to be_empty
  end

  def signature?(builder, method)
    name = TypeName(method.namespace.path)
    return false unless builder.env.class_decls.key?(name)

    definition = method.scope == :class ? builder.build_singleton(name) : builder.build_instance(name)
    found = definition.methods[method.constructor? ? :initialize : method.name]
    # Inherited ones are those of Object: not about this method.
    !found.nil? && found.defined_in == name
  end

  # Absolute, as in the sources.
  def TypeName(path) # rubocop:disable Naming/MethodName -- as RBS has it
    *namespace, name = path.split("::").map(&:to_sym)
    RBS::TypeName.new(name: name, namespace: RBS::Namespace.new(path: namespace, absolute: true))
  end

  # RBS wraps each method and compares what goes in and comes out with the signature. Not of Stream and Channel: it
  # wraps blocks too, and a wrapped one does not get the `self` that on_request and event give it.
  it "tell the truth where everything is used" do
    checked = %w[Entry Response Future ChainedFuture Event OutgoingRequest Channel::Params Error CallError TimeoutError
                 RejectedError].map { |name| "RedisIPC::#{name}" }.join(",")
    environment = { RUBYOPT: "-rrbs/test/setup", RBS_TEST_LOGLEVEL: "error", RBS_TEST_TARGET: checked,
                    RBS_TEST_OPT: "-I #{root}/sig", RBS_TEST_RAISE: "true" }
    process = ruby(<<~RUBY, **environment)
      class Kitchen < RedisIPC::Channel
        stream "household"
        channel :kitchen
        on_error { nil }
        around_handler { |entry, handler| handler.call }
        event("cook", params: [:dish]) do
          [params[:dish], params.fetch("dish"), params.key?(:dish), params.dig(:dish), params.to_h, params.inspect, source_group,
           stream_name, group_name, instance_id, entry.id, entry.redis_id, entry.status, entry.content, entry.pending?,
           entry.deadline.to_i, entry.expired?, entry.age, entry.traceparent, entry.deliveries, entry.redelivered?, entry.inspect]
        end
        event("fail") { raise "no" }
      end
      subscription = RedisIPC.subscribe(:handle) { |event| [event.name, event.duration, event.payload, event.inspect] }
      Kitchen.connect
      response = Kitchen.trigger_event(:cook, target: "kitchen", params: { dish: "pasta" }, timeout: 5)
      [response.fulfilled?, response.value!, response.reason, response.error, response.id, response.redis_id, response.inspect]
      Kitchen.trigger_event("fail", target: :kitchen).reason
      future = Kitchen.async_trigger_event("cook", target: "kitchen", params: { "dish" => 1 })
      chained = future.then { |value| value.size }
      [future.wait, future.settled?, future.value!, future.response, future.inspect, chained.wait(5), chained.value, chained.settled?]
      [Kitchen.stats, Kitchen.connected?, RedisIPC.unsubscribe(subscription)]
      stream = RedisIPC::Stream.new("household", :attic)
      stream.on_request { |entry| reject_request(entry, content: 1) }.on_error { nil }.around_request { |_, call| call.call }
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
      [stream.instances, stream.instance_id, stream.name, stream.inspect]
      stream.disconnect(timeout: 1)
      Kitchen.disconnect
      puts "done"
    RUBY
    expect(process.rest).to end_with("done\n")
  end
end

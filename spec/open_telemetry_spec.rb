# frozen_string_literal: true

# OpenTelemetry's gems are not in Debian, so these run against spec/support/open_telemetry.rb.
RSpec.describe "OpenTelemetry" do
  before do
    stub_const("OpenTelemetry", FakeOpenTelemetry)
    require "redis_ipc/open_telemetry"
    RedisIPC::OpenTelemetry.install(**options)
  end

  after do
    RedisIPC::OpenTelemetry.uninstall
    FakeOpenTelemetry.forget
  end

  let(:options) { {} }

  # Returns the next spans that end, by kind.
  def spans(count)
    Array.new(count) { next_of(FakeOpenTelemetry.spans) }.group_by(&:kind)
  end

  def durations
    Array.new(FakeOpenTelemetry.durations.size) { FakeOpenTelemetry.durations.pop }
  end

  def kitchen
    options = { redis_options: redis_options }
    channel = Class.new(RedisIPC::Channel) do
      stream "house"
      channel "kitchen"
      on_error { nil }
      event("cook", params: [:dish]) { params[:dish] == "poison" ? raise(ArgumentError, "no") : params[:dish] }
    end
    channel.connect(**options)
    yield channel
  ensure
    channel.disconnect
  end

  def cook(parent, dish, event: "cook")
    parent.async_send_to_group(content: { event: event, params: { dish: dish } }, to: "kitchen").response
  end

  it "makes a CLIENT and a SERVER span of a call, in one trace" do
    kitchen do
      response = connect("parent").send_to_group(content: { event: "cook", params: { dish: "pasta" } }, to: "kitchen")
      found = spans(2)
      client = found.fetch(:client).first
      server = found.fetch(:server).first
      expect([client.name, server.name]).to all(eq("kitchen/cook"))
      expect(server.parent).to eq(client.context.traceparent)
      expect(client.parent).to be_nil
      expect(client.attributes).to eq(
        "rpc.system.name" => "redis_ipc", "rpc.method" => "kitchen/cook", "redis_ipc.stream" => "house",
        "redis_ipc.group" => "parent", "rpc.response.status_code" => "fulfilled",
        "redis_ipc.request.id" => response.id, "redis_ipc.instance.id" => response.instance_id
      )
      expect(server.attributes).to eq(
        "rpc.system.name" => "redis_ipc", "rpc.method" => "kitchen/cook", "redis_ipc.source_group" => "parent",
        "redis_ipc.request.id" => response.id, "redis_ipc.deliveries" => 1, "rpc.response.status_code" => "fulfilled"
      )
      expect([client.status, server.status]).to eq([nil, nil])
      expect(durations.to_h { |name, value, attributes| [name, [value.positive?, attributes]] }).to eq(
        %w[client server].to_h do |side|
          ["rpc.#{side}.call.duration", [true, { "rpc.system.name" => "redis_ipc", "rpc.method" => "kitchen/cook",
                                                 "rpc.response.status_code" => "fulfilled" }]]
        end
      )
    end
  end

  it "ends the span of a call that nobody waits for when the call ends, and says what went wrong" do
    kitchen do
      parent = connect("parent")
      cook(parent, "poison")
      found = spans(2)
      expect(found[:client].first).to have_attributes(
        status: [:error, "rejected"],
        attributes: hash_including("rpc.response.status_code" => "rejected", "error.type" => "rejected")
      )
      expect(found[:server].first).to have_attributes(
        status: [:error, "ArgumentError"], exceptions: [ArgumentError],
        attributes: hash_including("rpc.response.status_code" => "rejected", "error.type" => "ArgumentError")
      )
      expect { parent.async_send_to_group(content: 1, to: "nobody", timeout: 0.05).value }
        .to raise_error(RedisIPC::TimeoutError)
      expect(spans(1)[:client].first).to have_attributes(
        name: "nobody", status: [:error, "RedisIPC::TimeoutError"],
        attributes: hash_including("error.type" => "RedisIPC::TimeoutError", "rpc.response.status_code" => /\Aun/)
      )
    end
  end

  it "names no event that the server does not have: anybody may send any name" do
    kitchen do
      cook(connect("parent"), 1, event: "x" * 50)
      expect(spans(2)[:server].first.name).to eq("kitchen/_OTHER")
      expect(durations.map { |name, _, attributes| [name, attributes["rpc.method"]] })
        .to include(["rpc.server.call.duration", "kitchen/_OTHER"])
    end
  end

  it "makes spans of JSON-RPC, with the code of an error as status" do
    rpc_server { |server| server.on("add") { |one, two| one + two } }
    client = rpc_client
    client.call("add", 1, 2)
    found = spans(2)
    expect(found[:server].first.parent).to eq(found[:client].first.context.traceparent)
    expect(found[:server].first.attributes)
      .to eq("rpc.system.name" => "jsonrpc", "rpc.method" => "add", "jsonrpc.protocol.version" => "2.0",
             "redis_ipc.queue" => "calculator", "jsonrpc.request.id" => "1")
    expect { client.call("subtract") }.to raise_error(RedisIPC::JSONRPC::Error)
    code = "-32601"
    expect(spans(1)[:client].first)
      .to have_attributes(status: [:error, code], attributes: hash_including("rpc.response.status_code" => code))
    client.batch { |batch| 2.times { |one| batch.call("add", one, one) } }
    found = spans(3)
    expect(found[:client].first)
      .to have_attributes(name: "batch", attributes: hash_including("redis_ipc.batch.size" => 2))
    expect(found[:server].map(&:parent)).to all(eq(found[:client].first.context.traceparent))
  end

  it "makes a PRODUCER span of publishing, and CONSUMER spans in its trace" do
    consume { |event| raise "bad" if event.data == 2 && event.attempt == 1 }
    id = publish(1, type: "order.paid")
    found = spans(2)
    expect(found[:producer].first.attributes)
      .to eq("messaging.system" => "redis_ipc", "messaging.operation.name" => "send",
             "messaging.operation.type" => "send", "messaging.destination.name" => "orders",
             "messaging.message.id" => id)
    consumer = found[:consumer].first
    expect(consumer).to have_attributes(name: "process orders", parent: found[:producer].first.context.traceparent)
    expect(consumer.attributes).to include("messaging.message.id" => id, "redis_ipc.event.type" => "order.paid",
                                           "redis_ipc.attempt" => 1)
    publish(2)
    failed, done = spans(3)[:consumer].sort_by { |span| span.attributes["redis_ipc.attempt"] }
    expect(failed).to have_attributes(status: [:error, "RuntimeError"], exceptions: [RuntimeError])
    expect(done.status).to be_nil
    expect(durations.map(&:first).tally)
      .to eq("messaging.process.duration" => 3, "messaging.client.operation.duration" => 2)
  end

  it "links the span of a batch to the traces of its events" do
    publish_all([1, 2])
    trace = spans(1)[:producer].first.context.trace_id
    consume(batch: { size: 2, within: 5 }) { nil }
    span = spans(1)[:consumer].first
    expect(span)
      .to have_attributes(parent: nil, attributes: hash_including("messaging.batch.message_count" => 2))
    expect(span.links.map { |link| link.span_context.trace_id }).to eq([trace, trace])
  end

  it "lets calls and handlers go on if OpenTelemetry raises" do
    rpc_server { |server| server.on("add") { |one, two| one + two } }
    allow(RedisIPC.const_get(:ErrorReport)).to receive(:warning)
    allow(FakeOpenTelemetry::Trace::Span).to receive(:new).and_raise(IOError, "full")
    expect(rpc_client.call("add", 1, 2)).to eq(3)
    connect("child", &echo)
    expect(connect("parent").send_to_group(content: 1, to: "child").value).to eq(1)
    expect(RedisIPC.const_get(:ErrorReport)).to have_received(:warning).with(/OpenTelemetry raised IOError/).at_least(4)
  end

  describe "without spans" do
    let(:options) { { traces: false } }

    it "records durations alone" do
      connect("child", &echo)
      connect("parent").send_to_group(content: 1, to: "child")
      eventually { FakeOpenTelemetry.durations.size == 2 }
      expect(FakeOpenTelemetry.spans).to be_empty
    end
  end

  it "is refused where the API is not loaded" do
    RedisIPC::OpenTelemetry.uninstall
    hide_const("OpenTelemetry")
    expect { RedisIPC::OpenTelemetry.install }.to raise_error(RedisIPC::ConfigurationError, /opentelemetry-api/)
  end
end

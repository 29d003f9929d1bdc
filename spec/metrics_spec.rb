# frozen_string_literal: true

# What a process has counted stays, so these examples use streams and queues that no other does.
RSpec.describe RedisIPC::Metrics do
  let(:gate) { Queue.new }

  after { gate.close }

  # Returns the value of a sample; nil if there is none with these labels.
  def value(name, labels = {})
    family = described_class.families.find { |one| one.name == name }
    family&.samples&.find { |sample| labels <= sample.labels }&.value
  end

  # Returns the samples that Prometheus's own parser finds, by name and labels.
  def parsed(accept)
    skip "Debian's python3-prometheus-client is not installed" unless PrometheusParser.there?

    type, text = described_class.text(accept: accept)
    families = PrometheusParser.parse(text, open: type.start_with?("application/openmetrics-text"))
    families.values.flat_map(&:last).to_h { |name, labels, value| [[name, labels], value] }
  end

  def ask(parent, content, **options)
    parent.send_to_group(content: content, to: "child", **options)
  end

  def streams_at_work
    connect("child", stream: stream, consumer: { pool_size: 2 }) do |entry|
      entry.content == "no" ? entry.reject("no") : entry.fulfill(entry.content)
    end
    parent = connect("parent", stream: stream)
    ask(parent, "yes")
    ask(parent, "no")
    unclaimed { parent.send_to_group(content: 1, to: "nobody", timeout: 0.05) }
  end

  def lists_at_work
    rpc_server(stream, threads: 4) { |server| server.on("add") { |one, two| one + two } }
    rpc_client(stream).call("add", 1, 2)
  end

  def consumers_at_work
    handler = proc { define_method(:call) { |event| raise "bad" if event.data == 2 } }
    consumer = start(consumer_class(stream: events_stream, &handler), attempts: 1)
    RedisIPC::Events.publish_all(events_stream, [1, 2, 3].map { |data| { data: data } }, redis_options: redis_options)
    eventually { consumer.stats.values_at(:acknowledged, :dead_lettered) == [2, 1] }
  end

  describe "of streams, JSON-RPC and events" do
    before { [streams_at_work, lists_at_work, consumers_at_work] }

    let(:stream) { SecureRandom.hex }
    let(:events_stream) { "#{stream} events" }
    let(:child) { { "kind" => "request_reply", "stream" => stream, "group" => "child" } }
    let(:parent) { child.merge("group" => "parent") }
    let(:queue) { { "kind" => "json_rpc", "stream" => stream } }
    let(:events) { { "kind" => "events", "source" => "stream", "stream" => events_stream, "group" => "billing" } }

    def all_of(samples, labels)
      samples.select { |(_, its), _| labels <= its }.to_h { |(name, its), value| [[name, its["outcome"]], value] }
    end

    it "are read by Prometheus's parser" do
      samples = parsed("text/plain")
      expect(all_of(samples, child)).to include(
        ["redis_ipc_requests_taken_total", nil] => 2, ["redis_ipc_answers_sent_total", nil] => 2,
        ["redis_ipc_handlers", nil] => 2, ["redis_ipc_handlers_busy", nil] => 0, ["redis_ipc_connected", nil] => 1
      )
      expect(all_of(samples, parent)).to include(
        %w[redis_ipc_calls_total fulfilled] => 1, %w[redis_ipc_calls_total rejected] => 1,
        %w[redis_ipc_calls_total timed_out] => (be >= 1), ["redis_ipc_handlers", nil] => 0
      )
      # The server and the client of a queue have the same labels.
      expect(all_of(samples, queue)).to include(
        ["redis_ipc_requests_taken_total", nil] => 1, %w[redis_ipc_calls_total fulfilled] => 1,
        ["redis_ipc_handlers", nil] => 4
      )
      expect(all_of(samples, events)).to include(
        ["redis_ipc_events_taken_total", nil] => 3, %w[redis_ipc_events_total done] => 2,
        ["redis_ipc_dead_lettered_total", nil] => 1, ["redis_ipc_handlers", nil] => 5
      )
      expect(samples).to include(["redis_ipc_build_info", { "version" => RedisIPC::VERSION }] => 1)
    end

    it "have how long calls, waiting and handlers took, and how calls ended by destination" do
      counts = parsed(nil).select do |(name, its), _|
        name.match?(/duration_seconds_count\z|outcomes_total\z/) && its["stream"].start_with?(stream)
      end
      durations = counts.to_h do |(name, its), value|
        [[name[/client|wait|server_call/], its["kind"], its["group"]], value]
      end
      expect(durations).to include(%w[client request_reply parent] => 2, %w[server_call request_reply child] => 2,
                                   %w[wait request_reply child] => 2, ["server_call", "json_rpc", nil] => 1)
      expect(durations[%w[server_call events billing]]).to be >= 2
      ends = counts.select { |(_, its), _| its["to"] == "child" }
      expect(ends.to_h { |(_, its), value| [its["outcome"], value] }).to include("fulfilled" => 1, "rejected" => 1)
    end

    it "are the same in OpenMetrics, which its stricter parser reads" do
      accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3"
      # These change from one look to the next.
      changing = ->((name, _), _) { name.match?(/held|open/) }
      expect(parsed(accept).reject(&changing)).to eq(parsed(nil).reject(&changing))
    end
  end

  it "has names that would break a line in a form that the parser gives back" do
    name = "a\"b\\c\nd"
    connect("child", stream: name, &echo)
    [nil, "application/openmetrics-text"].each do |accept|
      expect(parsed(accept).keys).to include(["redis_ipc_connected", hash_including("stream" => name)])
    end
  end

  it "keeps what ended connections have counted, and adds what the next one counts" do
    child = connect("child", stream: "kept", &echo)
    parent = connect("parent", stream: "kept")
    labels = { stream: "kept", group: "child" }
    ask(parent, 1)
    child.disconnect
    expect(value("redis_ipc_answers_sent", labels)).to eq(1)
    expect(value("redis_ipc_connected", labels)).to be_nil
    child.connect(redis_options: redis_options)
    ask(parent, 1)
    eventually { value("redis_ipc_answers_sent", labels) == 2 }
    expect(value("redis_ipc_connected", labels)).to eq(1)
  end

  it "begins anew in a fork, which has counted nothing yet" do
    connect("child", stream: "forked", &echo)
    ask(connect("parent", stream: "forked"), 1)
    reader, writer = IO.pipe
    child = Process.fork do
      streams.each { |one| one.disconnect(timeout: 0) }
      writer.puts([value("redis_ipc_answers_sent", { stream: "forked" }).to_i,
                   value("redis_ipc_calls", { stream: "forked" }).to_i].inspect)
      exit!(0)
    end
    Process.wait(child)
    expect(reader.gets.chomp).to eq("[0, 0]")
  end

  it "shows for how long the oldest handler has run" do
    begun = Queue.new
    gate = self.gate
    connect("child", stream: "slow") { |entry| (begun << entry) && entry.fulfill(gate.pop) }
    parent = connect("parent", stream: "slow")
    2.times { parent.async_send_to_group(content: 1, to: "child", timeout: 5) }
    2.times { next_of(begun) }
    labels = { stream: "slow", group: "child" }
    expect(value("redis_ipc_handlers_busy", labels)).to eq(2)
    expect(value("redis_ipc_handler_running_seconds_max", labels)).to be_between(0, 10).exclusive
    2.times { gate << 1 }
    eventually { value("redis_ipc_handlers_busy", labels).zero? }
    expect(value("redis_ipc_handler_running_seconds_max", labels)).to eq(0)
  end

  describe "of groups" do
    let(:gate) { Queue.new }
    let(:begun) { Queue.new }

    # Returns the samples of one stream, by name.
    def of_groups(admin, stream)
      families = described_class.families(admin: admin)
      samples = families.flat_map { |one| one.samples.map { |sample| [one.name, sample] } }
      samples.select { |_, sample| sample.labels[:stream] == stream }
    end

    def admin(**names)
      (@admins ||= []) << RedisIPC::Admin.new(redis_options: redis_options, **names)
      @admins.last
    end

    after { (@admins || []).each(&:close) }

    it "come from an Admin, and say what waits and who serves it" do
      begun = self.begun
      gate = self.gate
      connect("child", stream: "asked", consumer: { pool_size: 1 }) { |entry| (begun << 1) && entry.fulfill(gate.pop) }
      parent = connect("parent", stream: "asked")
      3.times { parent.async_send_to_group(content: 1, to: "child", timeout: 20) }
      next_of(begun)
      asked = admin(streams: ["asked"])
      found = eventually do
        child = of_groups(asked, "asked").select { |_, sample| sample.labels[:group] == "child" }
        values = child.to_h.transform_values(&:value)
        values if values["redis_ipc_group_waiting"] == 2
      end
      expect(found).to include("redis_ipc_group_serving" => 1, "redis_ipc_group_instances" => 1,
                               "redis_ipc_group_dead" => 0, "redis_ipc_group_paused" => 0,
                               "redis_ipc_group_oldest_seconds" => be_between(0, 10))
      3.times { gate << 1 }
      eventually { of_groups(asked, "asked").to_h["redis_ipc_group_oldest_seconds"].value.zero? }
    end

    it "have the lag of events" do
      consumer = consume(order: :key) { nil }
      consumer.pause
      publish_all([1, 2, 3])
      eventually do
        of_groups(admin(consumers: ["orders"]), "orders").to_h["redis_ipc_event_lag"]&.value.to_i.positive?
      end
    end

    it "are read by Prometheus's parser, and are left out while Redis is away" do
      skip "Debian's python3-prometheus-client is not installed" unless PrometheusParser.there?

      server = start_server
      asked = RedisIPC::Admin.new(streams: ["house"], redis_options: { path: server.path, connect_timeout: 0.5 })
      build("child", &echo).connect(redis_options: { path: server.path })
      up = lambda do
        PrometheusParser.parse(described_class.text(admin: asked).last)["redis_ipc_redis_up"].last.first.last
      end
      expect(up.call).to eq(1)
      server.kill
      expect(up.call).to eq(0)
    ensure
      asked&.close
    end
  end

  describe RedisIPC::Metrics::Distribution do
    # The core's bucket of a value: over 2^(index/8), up to 2^((index + 1)/8).
    def told(values)
      found = values.group_by { |value| (Math.log2(value) * 8).ceil - 1 }
      first, last = found.keys.minmax
      { "zero" => 0, "offset" => first, "buckets" => (first..last).map { |index| found.fetch(index, []).size },
        "sum" => values.sum, "count" => values.size }
    end

    it "has counts that are exact, whatever the values" do
      random = Random.new(7)
      values = Array.new(2_000) { 2.0**random.rand(-20.0..12.0) } + (-16..8).map { |exponent| 2.0**exponent }
      one, two = values.partition { random.rand < 0.5 }.map { |some| described_class.read(told(some)) }
      both = one + two
      expect(both.buckets).to eq([*(-16..8).map { |exponent| 2.0**exponent }, Float::INFINITY].map do |bound|
        [bound, values.count { |value| value <= bound }]
      end)
      expect([both.count, both.sum]).to match([values.size, be_within(1e-6).of(values.sum)])
    end

    it "has nothing below its least value if that is 0" do
      empty = { "zero" => 3, "offset" => 0, "buckets" => [], "sum" => 0.0, "count" => 3 }
      expect(described_class.read(empty).buckets.map(&:last)).to all(eq(3))
    end
  end

  it "counts losses by their cause" do
    losses = Queue.new
    consume_from(channel: "prices", redis_options: redis_options, on_loss: losses.method(:<<)) { nil }
    labels = { source: "channel", stream: "prices", cause: "disconnected" }
    while_unsubscribed(redis) { redis.publish("prices", "1") }
    next_of(losses)
    expect(value("redis_ipc_event_losses", labels)).to be >= 1
  end

  {
    nil => "text/plain", "*/*" => "text/plain", "text/plain" => "text/plain", "nonsense;;q=" => "text/plain",
    "application/openmetrics-text;q=0" => "text/plain",
    "application/openmetrics-text;q=0.2, text/plain;q=0.7" => "text/plain",
    "application/openmetrics-text; version=1.0.0" => "application/openmetrics-text"
  }.each do |accept, type|
    it "answers #{accept.inspect} with #{type}" do
      expect(described_class.text(accept: accept).first).to start_with("#{type};")
    end
  end
end

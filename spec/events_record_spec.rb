# frozen_string_literal: true

require "json"

# What a consumer of events says of itself in Redis, read with a plain client, and what it is told.
RSpec.describe "the record of a consumer of events" do
  let(:got) { Queue.new }
  let(:gate) { Queue.new }

  after { gate.close }

  # Returns the only record of the group once the block is true of it.
  def awaited(stream = "orders", group = "billing", client: redis)
    found = nil
    eventually do
      key = client.keys("#{stream}:stats:#{group}:*").first
      found = key && JSON.parse(client.get(key), symbolize_names: true)
      found && yield(found)
    end
    found
  end

  { "without an order" => nil, "by key" => :key }.each do |title, key|
    it "tells what it handles, how far it has come and what failed, and obeys the control key, #{title}" do
      got = self.got
      gate = self.gate
      line = __LINE__ + 5
      consumer = consumer_class do
        order :key, lanes: 4 if key
        define_method(:call) do |event|
          got << event.data
          gate.pop if event.data == "wait"
          raise "no" if event.data == "fail" && event.attempt == 1
        end
      end
      start(consumer, lease: 1)
      publish("fail", key: "a")
      publish("wait", key: "b")
      expect(Array.new(3) { next_of(got) }).to contain_exactly("fail", "fail", "wait")
      record = awaited { |it| it[:busy] == 1 && it[:events][:handled] == 1 }
      expect(record).to include(v: 1, kind: "events", stream: "orders", group: "billing", handlers: 5, paused: false,
                                settings: include(lease: 1_000, attempts: 5, order: (key || :none).to_s))
      expect(record[:running]).to contain_exactly(include(delivery: 1, since: be <= record[:written]))
      slow = awaited { |it| it[:running].first&.fetch(:frame) }
      expect(slow[:running].first[:frame]).to match(/\A\S*events_record_spec\.rb:#{line}:in /)
      lanes = { owned: 4, of: 4 } if key
      expect(record[:events]).to include(source: "stream", handled: 1, failed: 1, lanes: lanes, losses: [])
      expect(record[:histograms][:run]).to include(count: 2)
      expect(record[:histograms][:wait]).to include(count: be >= 3)
      redis.set("orders:control:billing", JSON.generate(v: 1, paused: true))
      eventually { consumer.paused? }
      expect(consumer.stats).to include(paused: 1)
      gate << 1
      publish("later", key: "c")
      expect(happens?(within: 0.3) { !got.empty? }).to be(false)
      redis.del("orders:control:billing")
      expect(next_of(got)).to eq("later")
      consumer.stop
      expect(redis.keys("orders:stats*")).to be_empty
    end
  end

  it "is that of one without a stream, too, and has its losses" do
    got = self.got
    client = start_server.client
    consume_from(channel: "news", redis_options: { url: servers.last.url }) { |event| got << event.data }
    client.publish("news", "x")
    expect(next_of(got)).to eq("x")
    record = awaited("redis_ipc:events", "news", client: client) { true }
    expect(record).to include(kind: "events", stream: "redis_ipc:events", group: "news", settings: {})
    expect(record[:events]).to include(source: "channel", lag: nil, oldest: nil, lanes: nil, checkpoint: nil)
    while_unsubscribed(client) { client.publish("news", "lost") }
    lost = awaited("redis_ipc:events", "news", client: client) { |it| it[:events][:losses].any? }
    expect(lost[:events][:losses]).to contain_exactly(include(cause: "disconnected", at_most: 1, until: be_positive))
    expect(lost[:events]).to include(handled: 1, failed: 0)
    expect(lost[:incidents]).to include(include(kind: "reconnected", text: /\Aafter an outage of [\d.]+ s\z/))
  end
end

# frozen_string_literal: true

# Rails 8.1 has an event reporter. The suite's Rails is older, so this runs against its one method.
RSpec.describe "Rails.event" do
  let(:told) { Queue.new }

  before do
    kept = told
    reporter = Class.new { define_method(:notify) { |name, payload| kept << [name, payload] } }.new
    stub_const("Rails", Module.new { define_singleton_method(:event) { reporter } })
    require "redis_ipc/rails/event_reporter"
    @subscription = RedisIPC::OnRails::EventReporter.install
  end

  after { RedisIPC.unsubscribe(@subscription) }

  it "is told of what an operator wants to know, without content" do
    unclaimed { connect("parent").send_to_group(content: "secret", to: "nobody", timeout: 0.05) }
    name, payload = next_of(told)
    expect(name).to eq("redis_ipc.timeout")
    expect(payload).to include(stream: "house", group: "parent", to: "nobody", outcome: be_a(Symbol),
                               duration: be > 0.04)
    expect(payload.to_s).not_to include("secret")
  end

  it "is told of losses and dead letters" do
    start(consumer_class { define_method(:call) { |_| raise "secret" } }, attempts: 1)
    publish(1)
    expect(next_of(told)).to match(["redis_ipc.dead_letter", hash_including(stream: "orders", error: "RuntimeError")])
    consume_from(channel: "prices", redis_options: redis_options) { nil }
    while_unsubscribed(redis) { redis.publish("prices", "1") }
    found = eventually { next_of(told).then { |one| one if one.first == "redis_ipc.loss" } }
    expect(found.last).to include(stream: "prices", cause: "disconnected", at_most: be >= 1)
  end

  it "is not needed" do
    stub_const("Rails", Module.new)
    expect(RedisIPC::OnRails::EventReporter.install).to be_nil
  end
end

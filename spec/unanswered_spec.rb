# frozen_string_literal: true

RSpec.describe "a handler that returns without an answer" do
  it "is reported to on_error at the deadline, with the entry" do
    taken = Queue.new
    child = connect("child", ledger: { cleanup_interval: 0.05 }) { |entry| taken << entry }
    parent = connect("parent")
    expect { parent.send_to_group(content: 1, to: "child", timeout: 0.3) }.to raise_error(RedisIPC::TimeoutError)
    entry = next_of(taken)
    error = next_of(errors)
    expect(error).to be_a(RedisIPC::UnansweredError)
    expect(error.message).to include(entry.id, '"parent"', "its deadline", "fulfill_request or reject_request")
    expect(error).to have_attributes(stream: "house", group: "child", entry_id: entry.redis_id)
    expect(child.stats).to include(unanswered: 1, held_requests: 0)
    expect(child.fulfill_request(entry, content: 1)).to be(false)
  end

  it "is reported with delivery: :at_most_once, too" do
    connect("child", consumer: { delivery: :at_most_once }, ledger: { cleanup_interval: 0.05 }) { nil }
    connect("parent").async_send_to_group(content: 1, to: "child", timeout: 0.2)
    expect(next_of(errors)).to be_a(RedisIPC::UnansweredError)
  end

  it "is not reported if the answer came later, or the handler is still running or has raised" do
    gate = Queue.new
    child = connect("child", ledger: { cleanup_interval: 0.05 }) do |entry|
      case entry.content
      when "later" then Thread.new { fulfill_request(entry, content: 1) }
      when "slow" then gate.pop
      else raise "oh"
      end
    end
    parent = connect("parent")
    expect(parent.send_to_group(content: "later", to: "child").value).to eq(1)
    expect(parent.send_to_group(content: "raise", to: "child")).to be_rejected
    parent.async_send_to_group(content: "slow", to: "child", timeout: 0.2)
    eventually { child.stats[:unanswered] == 1 }
    gate << true
    child.disconnect
    expect(Array.new(errors.size) { errors.pop.message }).to eq(["oh"])
  end
end

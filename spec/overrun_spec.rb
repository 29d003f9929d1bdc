# frozen_string_literal: true

# A handler that hangs, or runs on after the deadline of its request.
RSpec.describe "a handler that outlasts the deadline of its request" do
  let(:events) { Queue.new }
  let(:gate) { Queue.new }
  let(:log) { StringIO.new }

  after { gate.close }

  def hang(times = 1, correlation_id: nil)
    gate = self.gate
    connect("child", logger: Logger.new(log), consumer: { pool_size: 3 }) { |entry| gate.pop && entry }
    parent = connect("parent")
    parent.around_request { |request, call| (request.correlation_id = correlation_id) && call.call } if correlation_id
    times.times { parent.async_send_to_group(content: "secret", to: "child", timeout: 0.1) }
  end

  def subscribe
    events = self.events
    @subscription = RedisIPC.subscribe(:overrun) { |event| events << event }
    yield
  ensure
    RedisIPC.unsubscribe(@subscription)
  end

  it "is told to subscribers with the line of the application" do
    subscribe do
      hang(correlation_id: "job-7")
      told = next_of(events)
      expect(told.payload).to include(stream: "house", group: "child", from: "parent", deliveries: 1,
                                      id: /\A\h{32}\z/, redis_id: /\A\d+-\d+\z/, entry: RedisIPC::Entry,
                                      correlation_id: "job-7")
      expect(told.payload[:frame]).to match(/\A#{Regexp.escape(__FILE__)}:13:in /)
      expect(told.duration).to be > 0.1
      expect(events).to be_empty
    end
  end

  it "is a warning in the log, which names the request and the line, and shows no content" do
    hang
    eventually { log.string.include?("delivery 1)") }
    expect(log.string)
      .to match(%r{WARN -- : redis_ipc house/child: a handler still runs though the deadline of its request has passed})
      .and match(/, [\d.]+ s after Redis got it, at \S*overrun_spec\.rb:13:in /)
      .and match(/ \(request \h{32} from parent, delivery 1\)$/)
    expect(log.string).not_to include("secret")
  end

  it "stays among those that are busy until it ends" do
    hang(3)
    child = streams.first
    expect(eventually { child.stats.values_at(:handlers, :busy_handlers, :held_requests) == [3, 3, 0] }).to be(true)
    3.times { gate << 1 }
    eventually { child.stats[:busy_handlers].zero? }
  end
end

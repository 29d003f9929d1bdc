# frozen_string_literal: true

# A JSON-RPC method that hangs, or runs on after the deadline of its request.
RSpec.describe "a method that outlasts the deadline of its request" do
  let(:gate) { Queue.new }
  let(:events) { Queue.new }
  let(:log) { StringIO.new }

  before do
    events = self.events
    @subscription = RedisIPC.subscribe(:overrun) { |event| events << event }
  end

  after do
    gate.close
    RedisIPC.unsubscribe(@subscription)
  end

  # Connects a server whose methods wait at the gate.
  def hanging_server
    gate = self.gate
    rpc_server(lease: 0.2, logger: Logger.new(log)) { |server| server.on("hang") { |_secret| gate.pop } }
  end

  it "is told once, with the line of the application, and stays among those that are busy until it ends" do
    server = hanging_server
    client = rpc_client
    client.around_call { |call, go| go.call if (call.correlation_id = "job-7") }
    expect { client.call("hang", "secret", timeout: 0.1) }.to raise_error(RedisIPC::TimeoutError)
    told = next_of(events)
    expect(told.payload).to include(queue: "calculator", method: "hang", id: 1, from: /\Acalculator:reply:\h{32}\z/,
                                    correlation_id: "job-7", frame: /\A#{Regexp.escape(__FILE__)}:\d+:in /)
    expect(told.duration).to be > 0.05
    eventually { log.string.include?("request 1)") }
    expect(log.string).to match(/WARN -- : JSON-RPC calculator: a method still runs though the deadline of its request/)
      .and match(/, [\d.]+ s after it began, at \S*json_rpc_overrun_spec\.rb:\d+:in .* \(hang, request 1\)$/)
    expect(log.string).not_to include("secret")
    expect(server.stats).to include(handlers: 3, busy_handlers: 1)
    gate << 1
    eventually { server.stats[:busy_handlers].zero? }
    expect(events).to be_empty
    expect(client.stats.keys & %i[handlers busy_handlers]).to be_empty
  end

  it "of a batch is told with the batch" do
    hanging_server
    expect { rpc_client.batch { |batch| 2.times { batch.call("hang", 1, timeout: 0.1) } } }
      .to raise_error(RedisIPC::TimeoutError)
    expect(next_of(events).payload).to include(queue: "calculator", batch: have_attributes(size: 2), frame: String)
    eventually { log.string.include?("(a batch of 2)") }
  end
end

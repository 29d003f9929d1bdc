# frozen_string_literal: true

# A connection breaks in the middle of a write. What is sent again must keep its order.
RSpec.describe "resending" do
  let(:server) { start_server }
  let(:gated) { GatedServer.new(server.path, commands: %w[XADD LPUSH]) }
  let(:redis_options) { gated.redis_options }
  # These requests fill the buffers of a unix socket several times.
  let(:numbers) { (0...20).to_a }

  after { gated.stop }

  def text(number)
    [number, "x" * 40_000]
  end

  # Sends the first request alone. While its reply is awaited, the others queue up, and are written together.
  def break_within_a_batch(&block)
    gated.gate = Queue.new
    yield numbers.first
    next_of(gated.arrivals)
    numbers.drop(1).each(&block)
    gated.gate << :pass
    next_of(gated.arrivals)
    gate = gated.gate
    gated.gate = nil
    gate << :cut
  end

  it "keeps a stream's requests in the order of the calls" do
    asking = connect("parent")
    break_within_a_batch { |number| asking.async_send_to_group(content: text(number), to: "child", timeout: 20) }
    eventually { server.client.xlen("house:inbox:child") == numbers.size }
    contents = server.client.xrange("house:inbox:child").map { |_, fields| JSON.parse(fields["content"]).first }
    expect(contents).to eq(numbers)
  end

  # Commands that Redis may have executed are not sent again.
  it "keeps a JSON-RPC client's unfinished requests in the order of the calls" do
    client = rpc_client
    call = lambda do |number|
      Thread.new { client.call("note", text(number), timeout: 20) }.report_on_exception = false
      eventually { client.stats[:open_calls] == number + 1 }
    end
    break_within_a_batch(&call)
    call.call(numbers.size)
    sent = -> { server.client.lrange("calculator", 0, -1).reverse.map { |it| JSON.parse(it)["params"].first.first } }
    eventually { sent.call.include?(numbers.size) }
    expect(sent.call).to eq(sent.call.sort).and include(0, numbers.last)
  end
end

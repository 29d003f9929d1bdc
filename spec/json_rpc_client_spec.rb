# frozen_string_literal: true

RSpec.describe RedisIPC::JSONRPC::Client do
  let(:client) { rpc_client }

  def serve(**options)
    rpc_server(**options) do |server|
      server.on("sum") { |*numbers| numbers.sum }
      server.on("echo") { |value| value }
      server.on("named") { |**named| named }
      server.on("wait") { |seconds| sleep(seconds) }
      yield server if block_given?
    end
  end

  def answer_with(text)
    request = JSON.parse(redis.brpop("calculator", timeout: 10).last)
    redis.lpush(request["reply_to"], format(text, id: request["id"]))
  end

  it "calls by position and by name" do
    serve
    expect(client.call("sum", 1, 2, 3)).to eq(6)
    expect(client.call(:sum)).to eq(0)
    expect(client.call("named", a: 1, "b" => { "c" => nil })).to eq(a: 1, b: { c: nil })
    expect(client.request("named", { timeout: 3, "with space" => 1 }, timeout: 2)).to eq(timeout: 3, "with space": 1)
    expect(client.call("echo", "Zoë \u0000 🎉" * 1000)).to eq("Zoë \u0000 🎉" * 1000)
    expect { client.call("sum", 1, b: 2) }.to raise_error(ArgumentError, /not both/)
    expect { client.call("sum", nil, b: 2) }.to raise_error(ArgumentError, /not both/)
    expect { client.call("echo", "\xFF".b) }.to raise_error(RedisIPC::ContentError)
  end

  it "calls from any number of threads at once" do
    serve(threads: 4)
    calls = Array.new(16) { |thread| Thread.new { Array.new(50) { |number| client.call("sum", thread, number) } } }
    expect(calls.map(&:value)).to eq(Array.new(16) { |thread| Array.new(50) { |number| thread + number } })
    expect(client.stats).to include(requests: 800, fulfilled: 800, open_calls: 0, answers_unmatched: 0)
  end

  it "notifies, and waits only for Redis" do
    heard = Queue.new
    serve { |server| server.on("note") { |*all| heard << all } }
    expect(client.notify("note", 1, 2)).to be(true)
    expect(next_of(heard)).to eq([1, 2])
    expect(redis.keys("calculator:reply:*")).to be_empty
  end

  it "has a proxy whose methods are the server's, but for those that every object has" do
    serve { |server| %w[select object_id].each { |name| server.on(name) { "mine" } } }
    proxy = client.proxy
    expect(proxy.sum(1, 2)).to eq(3)
    expect(proxy.named(a: 1)).to eq(a: 1)
    # Ruby's own `select` is private.
    expect([proxy.select, client.call("object_id")]).to eq(%w[mine mine])
    expect(proxy.object_id).to be_an(Integer)
    expect { client.proxy(timeout: 0.2).wait(1) }.to raise_error(RedisIPC::TimeoutError)
  end

  it "has a proxy that can be inspected without a call" do
    serve
    proxy = client.proxy
    requests = client.stats[:requests]
    expect(proxy.inspect).to match(/Proxy of #<RedisIPC::JSONRPC::Client calculator connected>/)
    expect { p(proxy) && puts(proxy) && print(proxy) && pp(proxy) }.to output(/Proxy/).to_stdout
    expect([[proxy].flatten.size, [*proxy].size, format("%s", proxy).size]).to eq([1, 1, proxy.inspect.size])
    expect([proxy.eql?(proxy), proxy.eql?(1), proxy.nil?, proxy.is_a?(String), { proxy => 1 }[proxy]])
      .to eq([true, false, false, false, 1])
    expect(proxy).to eq(proxy)
    expect(proxy).not_to be_nil
    expect(case proxy
           in [] then 1
           in { a: } then 2
           else 3
           end).to eq(3)
    expect { client.call("sum", proxy) }.to raise_error(RedisIPC::ContentError)
    expect { raise proxy }.to raise_error(TypeError)
    expect(client.stats[:requests]).to eq(requests)
    expect(proxy.sum(1, 2)).to eq(3)
    expect(proxy.respond_to?(:sum)).to be(true)
  end

  describe "#batch" do
    it "takes timeout as call does: the shortest counts" do
      expect { client.batch(timeout: 10) { |b| b.call("sum", 1, timeout: 0.1) && b.notify("sum", timeout: 5) } }
        .to raise_error(RedisIPC::TimeoutError)
      expect { client.batch { |b| b.call("sum", timeout: 0) } }.to raise_error(ArgumentError, /timeout/)
      serve
      expect(client.batch { |b| b.call("named", a: 1, timeout: 9) && b.request("named", { timeout: 9 }) })
        .to eq([{ a: 1 }, { timeout: 9 }])
    end

    it "returns results in the order of its calls, errors among them" do
      heard = Queue.new
      serve { |server| server.on("note") { heard << true } }
      results = client.batch do |batch|
        batch.notify("note")
        expect(batch.call("sum", 1, 2)).to eq(0)
        expect(batch.call("nothing")).to eq(1)
        batch.call("named", a: 1)
      end
      expect(results.values_at(0, 2)).to eq([3, { a: 1 }])
      expect(results[1]).to be_a(RedisIPC::JSONRPC::Error).and have_attributes(code: -32_601)
      next_of(heard)
    end

    it "may consist of notifications, or be empty" do
      heard = Queue.new
      serve { |server| server.on("note") { heard << true } }
      expect(client.batch { |batch| 2.times { batch.notify("note") } }).to eq([])
      2.times { next_of(heard) }
      expect(client.batch { nil }).to eq([])
      expect(client.stats[:requests]).to eq(1)
    end

    it "matches answers in any order, and says which are missing" do
      asking = Thread.new { client.batch { |batch| 3.times { |number| batch.call("sum", number) } } }
      requests = JSON.parse(redis.brpop("calculator", timeout: 10).last)
      expect(requests.count { |request| request.key?("reply_to") }).to eq(1)
      answers = requests.values_at(2, 0).map do |request|
        { jsonrpc: "2.0", result: request["params"], id: request["id"] }
      end
      redis.lpush(requests.first["reply_to"], JSON.generate(answers))
      results = asking.value
      expect(results.values_at(0, 2)).to eq([[0], [2]])
      expect(results[1].message).to include("did not answer")
    end

    it "is capped" do
      small = rpc_client(max_batch: 2)
      expect { small.batch { |batch| 3.times { batch.call("sum") } } }.to raise_error(ArgumentError, /max_batch/)
    end

    it "raises if the server refused all of it" do
      serve(max_batch: 2)
      asked = -> { client.batch(timeout: 10) { |batch| batch.notify("sum") || 2.times { batch.call("sum") } } }
      expect(&asked).to raise_error(RedisIPC::JSONRPC::Error) { |error|
        expect([error.code, error.data]).to match([-32_600, /3 requests, at most 2/])
      }
    end
  end

  describe "a timeout" do
    it "withdraws the request if nobody had taken it" do
      expect(unclaimed { client.call("sum", timeout: 0.05) }.outcome).to eq(:unclaimed)
      expect(redis.exists("calculator")).to eq(0)
    end

    it "has an unknown outcome if a server had taken it" do
      gate = Queue.new
      serve { |server| server.on("wait at the gate") { gate.pop } }
      # The timeout leaves enough time for a server to take the request.
      expect { client.call("wait at the gate", timeout: 2) }
        .to raise_error(RedisIPC::TimeoutError) { |error| expect(error.outcome).to eq(:unknown) }
      gate << true
      eventually { client.stats[:answers_unmatched] == 1 }
      expect(client.call("sum", 1)).to eq(1)
    end

    it "must be a number of seconds" do
      [0, -1, "1", Complex(1, 1), 1e19, 10**400, 604_801, Float::INFINITY, Float::NAN].each do |timeout|
        [-> { client.call("sum", timeout: timeout) }, -> { client.notify("sum", timeout: timeout) },
         -> { client.batch(timeout: timeout) { |batch| batch.call("sum") } }, -> { client.proxy(timeout: timeout) }]
          .each { |call| expect(&call).to raise_error(ArgumentError, /at most 604800/) }
      end
      serve
      expect(client.call("sum", 1, timeout: 604_800)).to eq(1)
    end
  end

  describe "an invalid answer" do
    ['{"jsonrpc":"2.0","id":%<id>s}', '{"id":%<id>s,"error":"x"}', '{"id":%<id>s,"error":{"code":"1","message":"x"}}',
     '{"id":%<id>s,"error":{"code":1}}', '[{"id":%<id>s}]'].each do |text|
      it "is refused: #{text}" do
        asking = Thread.new { client.call("sum", timeout: 10) }
        asking.report_on_exception = false
        answer_with(text)
        expect { asking.value }.to raise_error(RedisIPC::MalformedEntryError)
      end
    end

    { "half a surrogate" => '"\ud800"', "NaN" => "NaN", "too deep" => "#{"[" * 200}#{"]" * 200}",
      "too many digits" => "1" * 5000 }.each do |what, result|
      ["{\"id\":%<id>s,\"result\":#{result}}",
       "{\"jsonrpc\":\"2.0\",\"result\":#{result},\"id\":%<id>s}"].each do |text|
        it "ends the call if it cannot be read: #{what}, #{text[0, 12]}..." do
          asking = Thread.new { client.call("sum", timeout: 10) }
          asking.report_on_exception = false
          answer_with(text)
          expect { asking.value }.to raise_error(RedisIPC::MalformedEntryError, /the answer cannot be read/)
        end
      end
    end

    it "is reported if it names no request" do
      asking = Thread.new { client.call("sum", timeout: 10) }
      answer_with('{"jsonrpc":"2.0","error":{"code":-32700,"message":"Parse error"},"id":null}')
      expect(next_of(errors).message).to include("Parse error")
      redis.lpush(client.send(:session).engine.reply_to, '{"jsonrpc":"2.0","result":5,"id":1}')
      expect(asking.value).to eq(5)
    end
  end

  it "leaves nothing behind" do
    serve
    client.call("sum")
    # An answer is removed together with the next read.
    eventually { (keys_beside_records - %w[calculator:servers]).empty? }
    client.disconnect
    expect { client.call("sum") }.to raise_error(RedisIPC::NotConnectedError)
    expect(client).not_to be_connected
    expect { client.connect }.not_to raise_error
    expect(client.call("sum")).to eq(0)
  end

  it "ends open calls when it is disconnected" do
    asking = Thread.new { client.call("sum", timeout: 30) }
    asking.report_on_exception = false
    eventually { redis.llen("calculator") == 1 }
    client.disconnect
    expect { asking.value }.to raise_error(RedisIPC::NotConnectedError) { |e| expect(e.outcome).to eq(:unknown) }
  end

  it "keeps nothing of a call whose thread is interrupted while it waits" do
    thread = Thread.new { Timeout.timeout(1) { client.call("sum", timeout: 30) } }
    thread.report_on_exception = false
    eventually { client.stats[:open_calls] == 1 }
    expect { thread.join }.to raise_error(Timeout::Error)
    expect(client.stats).to include(cancelled: 1, open_calls: 0)
    eventually { redis.exists("calculator").zero? }
  end

  it "checks its options" do
    { timeout: 0, max_size: "1", threads: 3 }.each do |name, value|
      expect { described_class.new("q", **{ name => value }) }.to raise_error(RedisIPC::ConfigurationError, /#{name}/)
    end
    lost = described_class.new("q", redis_options: { port: RedisServer.free_port })
    expect { lost.connect }.to raise_error(RedisIPC::ConnectionError)
  end
end

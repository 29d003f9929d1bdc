# frozen_string_literal: true

RSpec.describe RedisIPC::Future do
  let(:parent) { connect("parent") }

  it "returns the answer" do
    connect("child", &echo)
    future = parent.async_send_to_group(content: "a", to: "child")
    expect(future.wait(10)).to be(true)
    expect(future).to be_settled
    expect([future.value, future.value!, future.response.value]).to all(eq("a"))
    expect(future.inspect).to include("settled")
  end

  it "returns a rejection" do
    connect("child") { |entry| reject_request(entry, content: "no") }
    future = parent.async_send_to_group(content: "a", to: "child")
    expect(future.value).to be_nil
    expect(future.response.reason).to eq("no")
    expect { future.value! }.to raise_error(RedisIPC::RejectedError)
  end

  it "raises when there was no answer, each time it is asked" do
    future = nil
    unclaimed { (future = parent.async_send_to_group(content: 1, to: "nobody", timeout: 0.1)).value }
    2.times do
      expect { future.value }.to raise_error(RedisIPC::TimeoutError) { |e|
                                   expect(e.outcome).to eq(:unclaimed)
                                 }
    end
    expect(future.wait).to be(true)
  end

  it "waits no longer than its timeout" do
    connect("child") { nil }
    future = parent.async_send_to_group(content: 1, to: "child", timeout: 20)
    expect(future.wait(0.05)).to be(false)
    expect(future).not_to be_settled
    expect(future.inspect).to include("pending")
  end

  it "may be waited for by many threads" do
    gate = Queue.new
    connect("child") { |entry| gate.pop && fulfill_request(entry, content: 7) }
    future = parent.async_send_to_group(content: 1, to: "child")
    threads = Array.new(8) { Thread.new { future.value } }
    gate << true
    expect(threads.map(&:value)).to all(eq(7))
  end

  it "has one answer, whoever looks at it" do
    connect("child", &echo)
    future = parent.async_send_to_group(content: "x" * 10_000, to: "child")
    told = Queue.new
    future.then { |value| told << value }
    value = next_of(told)
    expect([value, future.value]).to all(eq("x" * 10_000))
    expect(future.value).to be(value)
  end

  it "waits for any number of seconds, and for nothing else" do
    gate = Queue.new
    connect("child") { |entry| gate.pop && fulfill_request(entry, content: 1) }
    [Float::INFINITY, 1e20, 10**30, 20r].each do |timeout|
      future = parent.async_send_to_group(content: 1, to: "child", timeout: 20)
      chained = future.then { |value| value }
      waiting = [future, chained].map { |one| Thread.new { one.wait(timeout) } }
      eventually { waiting.all? { |thread| thread.status == "sleep" } }
      gate << true
      expect(waiting.map(&:value)).to eq([true, true])
    end
    future = parent.async_send_to_group(content: 1, to: "child", timeout: 20)
    expect(future.wait(-1)).to be(false)
    [Float::NAN, "5", Complex(1, 1), :soon].each do |timeout|
      expect { future.wait(timeout) }.to raise_error(ArgumentError, /number of seconds/)
      expect { future.then { 1 }.wait(timeout) }.to raise_error(ArgumentError, /number of seconds/)
    end
    gate << true
  end

  it "raises where the group was too busy to run it" do
    connect("child") { |entry| entry.engine.reject(entry.native, "busy", "RedisIPC::OverloadedError") }
    future = parent.async_send_to_group(content: 1, to: "child")
    [future, future.then { 1 }].each do |one|
      expect { one.value }
        .to raise_error(RedisIPC::OverloadedError, /too busy/) { |e| expect(e.outcome).to eq(:unclaimed) }
    end
    expect(future.response.value).to be_nil
    expect { future.value! }.to raise_error(RedisIPC::RejectedError)
  end

  it "can be created by the thousand in one thread" do
    connect("child", &echo)
    futures = Array.new(3000) { |index| parent.async_send_to_group(content: index, to: "child", timeout: 30) }
    expect(futures.map(&:value)).to eq((0...3000).to_a)
    expect(parent.stats).to include(open_calls: 0)
  end

  describe "#then" do
    it "runs with the value and chains" do
      connect("child", &echo)
      future = parent.async_send_to_group(content: 1, to: "child")
      chained = future.then { |value| value + 1 }.then { |value| value * 10 }
      expect(chained.wait(10)).to be(true)
      expect([chained.value, chained.value!]).to eq([20, 20])
      expect(chained.response.value).to eq(1)
    end

    it "runs once the answer comes, not before" do
      gate = Queue.new
      connect("child") { |entry| gate.pop && fulfill_request(entry, content: 1) }
      ran = Queue.new
      chained = parent.async_send_to_group(content: 1, to: "child").then { ran << Thread.current.name }
      expect(chained.wait(0.05)).to be(false)
      gate << true
      expect(next_of(ran)).to match(%r{redis_ipc dispatcher \d house/parent})
    end

    it "passes rejections and failures on without running" do
      connect("child") { |entry| reject_request(entry, content: "no") }
      ran = false
      rejected = parent.async_send_to_group(content: 1, to: "child").then { ran = true }.then { ran = true }
      failed = parent.async_send_to_group(content: 1, to: "nobody", timeout: 0.1).then { ran = true }
      expect(rejected.value).to be_nil
      expect { rejected.value! }.to raise_error(RedisIPC::RejectedError)
      expect { failed.value }.to raise_error(RedisIPC::TimeoutError)
      expect(ran).to be(false)
    end

    it "may wait for other futures: more threads start meanwhile, and end afterwards" do
      connect("child", &echo)
      ask = ->(number) { parent.async_send_to_group(content: number, to: "child") }
      nested = Array.new(6) do |number|
        ask.call(number).then { |a| ask.call(10).then { |b| ask.call(1).then { |c| a + b + c }.value }.value }
      end
      expect(nested.each { |future| future.wait(20) }.map(&:value)).to eq((11..16).to_a)
      names = -> { Thread.list.map { |thread| thread.name.to_s } }
      dispatchers = -> { names.call.grep(%r{redis_ipc dispatcher \d+ house/parent}).size }
      eventually { ask.call(1).then { nil }.wait(5) && dispatchers.call == 2 }
    end

    it "keeps the exception of the block" do
      connect("child", &echo)
      chained = parent.async_send_to_group(content: 1, to: "child").then { raise "inside" }
      expect { chained.value }.to raise_error(RuntimeError, "inside")
    end

    it "settles and keeps its threads, whatever the block raises" do
      connect("child", &echo)
      ask = -> { parent.async_send_to_group(content: 1, to: "child") }
      broken = Array.new(4) { ask.call.then { raise NotImplementedError } }
      broken.each { |future| expect { future.value }.to raise_error(NotImplementedError) }
      killed = ask.call.then { Thread.current.kill }
      expect { killed.value }.to raise_error(RedisIPC::Error, /stopped/)
      expect(ask.call.then { 5 }.value).to eq(5)
    end

    it "runs each block, even if a previous one stops its thread" do
      gate = Queue.new
      connect("child") { |entry| fulfill_request(entry, content: gate.pop) }
      call = parent.async_send_to_group(content: 1, to: "child")
      chained = call.then { |value| value }
      stopped = [call, call, chained, chained].map { |future| future.then { Thread.current.kill } }
      others = [call.then { |value| value + 1 }, chained.then { |value| value + 2 }]
      gate << 1
      expect(others.map { |future| future.wait(5) && future.value }).to eq([2, 3])
      expect(stopped).to all(satisfy { |future| future.wait(5) })
    end

    it "runs the block even if the thread that was to run it is killed" do
      gate = Queue.new
      connect("child") { |entry| fulfill_request(entry, content: gate.pop) }
      chained = parent.async_send_to_group(content: 1, to: "child").then { |value| value + 1 }
      killed = false
      allow(RedisIPC.framework).to receive(:around_callback).and_wrap_original do |original, *arguments, &block|
        unless killed
          killed = true
          Thread.current.kill
        end
        original.call(*arguments, &block)
      end
      gate << 1
      expect(chained.wait(5) && chained.value).to eq(2)
      expect(killed).to be(true)
    end

    it "reports an exception of the block to on_error if nobody waits for its value" do
      connect("child", &echo)
      parent.async_send_to_group(content: 1, to: "child").then { raise "unread" }.then { 1 }
      expect(next_of(errors).message).to eq("unread")
      parent.async_send_to_group(content: 1, to: "nobody", timeout: 0.1).then { 1 }.wait(5)
      expect(errors).to be_empty
    end

    it "needs a block" do
      connect("child", &echo)
      expect { parent.async_send_to_group(content: 1, to: "child").then }.to raise_error(ArgumentError)
    end
  end

  it "ends with its stream" do
    connect("child") { nil }
    future = parent.async_send_to_group(content: 1, to: "child")
    chained = future.then { 1 }
    parent.disconnect
    [future, chained].each do |ended|
      expect { ended.value }.to raise_error(RedisIPC::NotConnectedError, /disconnected while the call was waiting/)
    end
  end
end

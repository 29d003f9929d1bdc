# frozen_string_literal: true

RSpec.describe RedisIPC::Future do
  let(:parent) { connect("parent") }

  it "brings the answer" do
    connect("child", &echo)
    future = parent.async_send_to_group(content: "a", to: "child")
    expect(future.wait(10)).to be(true)
    expect(future).to be_settled
    expect([future.value, future.value!, future.response.value]).to all(eq("a"))
    expect(future.inspect).to include("settled")
  end

  it "tells a rejection" do
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

  it "waits no longer than it is told" do
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
    future.on_fulfilled { |value| told << value }
    value = next_of(told)
    expect([value, future.value]).to all(eq("x" * 10_000))
    expect(future.value).to be(value)
  end

  it "waits for any number of seconds, and for nothing else" do
    gate = Queue.new
    connect("child") { |entry| gate.pop && fulfill_request(entry, content: 1) }
    [Float::INFINITY, 1e20, 10**30, 20r].each do |timeout|
      future = parent.async_send_to_group(content: 1, to: "child", timeout: 20)
      waiting = Thread.new { future.wait(timeout) }
      eventually { waiting.status == "sleep" }
      gate << true
      expect(waiting.value).to be(true)
    end
    future = parent.async_send_to_group(content: 1, to: "child", timeout: 20)
    expect(future.wait(-1)).to be(false)
    [Float::NAN, "5", Complex(1, 1), :soon].each do |timeout|
      expect { future.wait(timeout) }.to raise_error(ArgumentError, /number of seconds/)
    end
    gate << true
  end

  it "raises where the group was too busy to run it" do
    connect("child") { |entry| entry.engine.reject(entry.native, "busy", "RedisIPC::OverloadedError") }
    future = parent.async_send_to_group(content: 1, to: "child")
    expect { future.value }
      .to raise_error(RedisIPC::OverloadedError, /too busy/) { |e| expect(e.outcome).to eq(:unclaimed) }
    expect(future.response.value).to be_nil
    expect { future.value! }.to raise_error(RedisIPC::RejectedError)
  end

  it "comes in thousands from one thread" do
    connect("child", &echo)
    futures = Array.new(3000) { |index| parent.async_send_to_group(content: index, to: "child", timeout: 30) }
    expect(futures.map(&:value)).to eq((0...3000).to_a)
    expect(parent.stats).to include(open_calls: 0)
  end

  describe "#on_fulfilled" do
    let(:ran) { Queue.new }

    it "runs once the answer comes, not before, in a thread of the stream" do
      gate = Queue.new
      connect("child") { |entry| gate.pop && fulfill_request(entry, content: 1) }
      future = parent.async_send_to_group(content: 1, to: "child")
      expect(future.on_fulfilled { |value| ran << [value, Thread.current.name] }).to be(future)
      expect(future.wait(0.05)).to be(false)
      expect(ran).to be_empty
      gate << true
      expect(next_of(ran)).to match([1, %r{redis_ipc dispatcher \d house/parent}])
    end

    it "runs at once where the call has ended already" do
      connect("child", &echo)
      future = parent.async_send_to_group(content: 1, to: "child")
      future.wait
      future.on_fulfilled { |value| ran << [value, Thread.current] }
      expect(ran.pop(true)).to eq([1, Thread.current])
    end

    it "does not run after a rejection or a failure, which is no error of a block" do
      connect("child") { |entry| reject_request(entry, content: "no") }
      ended = [parent.async_send_to_group(content: 1, to: "child"),
               parent.async_send_to_group(content: 1, to: "nobody", timeout: 0.1)]
      ended.each { |future| future.on_fulfilled { ran << true } }
      ended.each(&:wait)
      ended.each { |future| future.on_fulfilled { ran << true } }
      expect([ran, errors]).to all(be_empty)
    end

    it "tells on_error what a block raises, and keeps its threads" do
      connect("child", &echo)
      ask = -> { parent.async_send_to_group(content: 1, to: "child") }
      [RuntimeError, NotImplementedError, SystemStackError].each do |kind|
        ask.call.on_fulfilled { raise kind, "inside" }
        expect(next_of(errors)).to be_a(kind)
      end
      4.times { ask.call.on_fulfilled { Thread.current.kill } }
      ask.call.on_fulfilled { |value| ran << value }
      expect(next_of(ran)).to eq(1)
    end

    it "runs each block, also where one before it stops its thread" do
      gate = Queue.new
      connect("child") { |entry| fulfill_request(entry, content: gate.pop) }
      call = parent.async_send_to_group(content: 1, to: "child")
      2.times { call.on_fulfilled { Thread.current.kill } }
      2.times { |number| call.on_fulfilled { |value| ran << (value + number) } }
      gate << 1
      expect([next_of(ran), next_of(ran)]).to eq([1, 2])
    end

    it "runs the block where the thread that was told of the end is killed before" do
      gate = Queue.new
      connect("child") { |entry| fulfill_request(entry, content: gate.pop) }
      parent.async_send_to_group(content: 1, to: "child").on_fulfilled { |value| ran << value }
      killed = false
      allow(RedisIPC.framework).to receive(:around_callback).and_wrap_original do |original, *arguments, &block|
        unless killed
          killed = true
          Thread.current.kill
        end
        original.call(*arguments, &block)
      end
      gate << 1
      expect(next_of(ran)).to eq(1)
      expect(killed).to be(true)
    end

    it "may ask again, and wait for the answer" do
      connect("child", &echo)
      ask = ->(number) { parent.async_send_to_group(content: number, to: "child") }
      6.times { |number| ask.call(number).on_fulfilled { |value| ran << (value + ask.call(10).value) } }
      expect(Array.new(6) { next_of(ran) }).to match_array(10..15)
    end

    it "needs a block" do
      connect("child", &echo)
      expect { parent.async_send_to_group(content: 1, to: "child").on_fulfilled }.to raise_error(ArgumentError)
    end
  end

  it "ends with its stream" do
    connect("child") { nil }
    future = parent.async_send_to_group(content: 1, to: "child")
    parent.disconnect
    expect { future.value }.to raise_error(RedisIPC::NotConnectedError, /disconnected while the call was waiting/)
  end
end

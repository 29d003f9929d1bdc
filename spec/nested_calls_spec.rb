# frozen_string_literal: true

RSpec.describe "a call from a handler to its own group" do
  hint = /handler threads? of this instance waited.*more threads or instances/

  # Starts a stream whose handler asks its own group, except for the innermost request.
  def nesting(**options, &ask)
    ask ||= proc { |stream| stream.send_to_group(content: 0, to: "child", timeout: 0.5).value! }
    child = nil
    child = connect("child", consumer: { **options }) do |entry|
      fulfill_request(entry, content: entry.content.zero? ? 0 : ask.call(child))
    rescue RedisIPC::TimeoutError => e
      fulfill_request(entry, content: e.message)
    end
  end

  it "is answered while a thread is free" do
    nesting(pool_size: 2)
    expect(connect("parent").send_to_group(content: 1, to: "child").value).to eq(0)
  end

  it "says in its TimeoutError that all threads waited for such calls, if they did" do
    error = nil
    nesting(pool_size: 1) do |child|
      child.send_to_group(content: 0, to: "child", timeout: 0.5)
    rescue RedisIPC::TimeoutError => e
      error = e
      raise
    end
    expect(connect("parent").send_to_group(content: 1, to: "child").value).to match(/the only #{hint}/)
    expect(error.message).to include(", nor did another instance take the request: ")
    expect(error).to have_attributes(outcome: :unclaimed, stream: "house", group: "child", entry_id: /\A\h{32}\z/)
    expect(error.redis).to include("unix:")
  end

  it "says that no other instance took it, if the whole group had no free thread" do
    busy = Queue.new
    go = Queue.new
    2.times do
      child = nil
      child = connect("child", consumer: { pool_size: 1 }) do |entry|
        busy << 1
        next go.pop if entry.content == "busy"

        child.send_to_group(content: 0, to: "child", timeout: 0.3)
      rescue RedisIPC::TimeoutError => e
        fulfill_request(entry, content: e.message)
      end
    end
    parent = connect("parent")
    parent.async_send_to_group(content: "busy", to: "child")
    next_of(busy)
    expect(parent.send_to_group(content: 1, to: "child").value)
      .to match(/so none was left to answer, nor did another instance take the request: /)
    go << 1
  end

  it "does not say so of a request that was taken" do
    taken = Queue.new
    child = nil
    child = connect("child", consumer: { pool_size: 1 }) do |_|
      taken << 1
      child.send_to_group(content: 0, to: "child", timeout: 0.5)
    rescue RedisIPC::TimeoutError => e
      taken << e
    end
    future = connect("parent").async_send_to_group(content: 1, to: "child", timeout: 5)
    next_of(taken)
    # Another instance takes the request and does not answer.
    connect("child") { |_| nil }
    error = next_of(taken)
    expect(error.outcome).to eq(:unknown)
    expect(error.message).to match(hint).and not_include("another instance")
    future.wait(0)
  end

  it "says so where several threads wait" do
    begun = Queue.new
    nesting(pool_size: 3) do |child|
      begun << 1
      eventually { begun.size == 3 }
      child.send_to_group(content: 0, to: "child", timeout: 1.5).value!
    end
    parent = connect("parent")
    futures = Array.new(3) { parent.async_send_to_group(content: 1, to: "child") }
    # The requests with the last deadlines may be answered by the first thread, or may be too late to start.
    expect(futures.map(&:value)).to include(match(/all 3 #{hint}/))
  end

  it "says so of a future's value, and of a call by another stream of the process" do
    other = connect("other")
    asks = [
      proc { |child| child.async_send_to_group(content: 0, to: "child", timeout: 0.5).value! },
      proc { |_| other.send_to_group(content: 0, to: "child", timeout: 0.5).value! }
    ]
    asks.each do |ask|
      child = nesting(pool_size: 1, &ask)
      expect(connect("parent").send_to_group(content: 1, to: "child").value).to match(hint)
      child.disconnect
    end
  end

  it "does not say so if another group was asked, a thread was free, or the cause is another one" do
    nesting(pool_size: 1) { |child| child.send_to_group(content: 0, to: "nobody", timeout: 0.3) }
    parent = connect("parent")
    expect(parent.send_to_group(content: 1, to: "child").value).to match(/no answer/).and not_match_hint
    streams.first.disconnect
    nesting(pool_size: 2) { |child| child.send_to_group(content: 1, to: "idle", timeout: 0.3) }
    connect("idle") { nil }
    expect(parent.send_to_group(content: 1, to: "child").value).to match(/no answer/).and not_match_hint
  end

  it "says so of JSON-RPC, too" do
    client = rpc_client
    rpc_server(threads: 1) do |server|
      server.on("inner") { 1 }
      server.on("outer") do
        client.call("inner", timeout: 0.5)
      rescue RedisIPC::TimeoutError => e
        e.message
      end
    end
    expect(client.call("outer", timeout: 10)).to match(hint)
  end

  define_method(:not_include) { |text| satisfy("not include #{text}") { |message| !message.include?(text) } }
  define_method(:not_match_hint) { satisfy("say nothing of threads") { |message| !message.match?(hint) } }
end

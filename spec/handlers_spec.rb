# frozen_string_literal: true

require "logger"

RSpec.describe "handlers" do
  let(:parent) { connect("parent") }

  it "run with a self that answers, asks, and knows the stream" do
    child = connect("child") do |entry|
      told = [self.class.name, stream_name, group_name, instance_id, stream.stats.key?(:taken), stream.class.name,
              inspect]
      fulfill_request(entry, content: told)
    end
    expect(parent.send_to_group(content: 1, to: child.group_name).value)
      .to eq(["RedisIPC::HandlerContext", "house", "child", child.instance_id, true, "RedisIPC::Stream",
              "#<RedisIPC::HandlerContext of #<RedisIPC::Stream house/child connected>>"])
  end

  # These are the names that the gem itself uses.
  it "may use any method and any instance variable: none is the stream's" do
    names = RedisIPC::Stream.new("house", "x").instance_variables | %i[@session @logger @on_error @on_request @pid]
    kept = Queue.new
    child = connect("child") do |entry|
      names.each { |name| instance_variable_set(name, entry.content) }
      kept << [instance_variables, private_methods, object_id]
      fulfill_request(entry, content: @session)
    end
    expect(Array.new(3) { |number| parent.send_to_group(content: number, to: "child").value }).to eq([0, 1, 2])
    seen = Array.new(3) { kept.pop }
    expect(seen.map(&:last).uniq.size).to eq(1)
    expect(seen.last[1] & RedisIPC::Stream.private_instance_methods(false)).to eq([:initialize])
    expect(child).to be_connected
    eventually { child.stats[:answers_sent] == 3 }
  end

  it "do not find the @logger of the object that defined them, and the error is reported" do
    owner = Class.new do
      define_method(:initialize) { @logger = Logger.new(nil) }
      define_method(:listen) { |stream| stream.on_request { @logger.error("lost") } }
    end.new
    child = build("child")
    owner.listen(child)
    child.connect(redis_options: redis_options)
    expect(parent.send_to_group(content: 1, to: "child").reason)
      .to eq("NoMethodError: undefined method 'error' for nil")
    expect(next_of(errors)).to be_a(NoMethodError)
  end

  it "answer by the entry, too, once" do
    again = Queue.new
    connect("child") do |entry|
      entry.content == "no" ? entry.reject("no!") : entry.fulfill(entry.content * 2)
      entry.reject("again")
    rescue RedisIPC::AlreadyAnsweredError => e
      again << e
    end
    expect(parent.send_to_group(content: 2, to: "child").value).to eq(4)
    expect(parent.send_to_group(content: "no", to: "child").reason).to eq("no!")
    2.times { next_of(again) }
    entries = Queue.new
    connect("later") { |entry| entries << entry }
    future = parent.async_send_to_group(content: 1, to: "later")
    expect(next_of(entries).fulfill("at last")).to be(true)
    expect(future.value).to eq("at last")
  end

  it "that raise reject the request and are reported" do
    connect("child") { raise ArgumentError, "no \xFF such thing" }
    response = parent.send_to_group(content: 1, to: "child")
    expect(response).to be_rejected
    expect(response.error).to eq("ArgumentError")
    expect(response.reason).to match(/\AArgumentError: no .+ such thing\z/)
    expect(next_of(errors)).to be_a(ArgumentError)
  end

  it "that raise with a message over max_content_size still reject the request, with a shortened reason" do
    connect("child", max_content_size: 400) { |entry| raise entry.content * 500 }
    ["x", "\u0001", "\"", "\u{1F600}"].each do |character|
      response = parent.send_to_group(content: character, to: "child")
      expect(response.error).to eq("RuntimeError")
      expect(response.reason).to start_with("RuntimeError: #{character}").and end_with("\u2026")
      expect(JSON.generate(response.reason).bytesize).to be_between(390, 400)
    end
  end

  it "that answer with more than max_content_size reject the request, and say so within a small limit" do
    connect("child", max_content_size: 30) { |entry| reject_request(entry, content: "x" * 100) }
    response = parent.send_to_group(content: 1, to: "child")
    expect([response.error, response.reason]).to match(["RedisIPC::ContentError", /\ARedisIPC::Cont.+\u2026\z/])
  end

  it "survive whatever is raised" do
    [NotImplementedError, NoMemoryError, SystemStackError, StopIteration].each do |error|
      child = connect("child #{error}", consumer: { pool_size: 1 }) { |entry| raise(error) if entry }
      2.times { expect(parent.send_to_group(content: 1, to: child.group_name).error).to eq(error.name) }
    end
  end

  it "that raise after answering do not change the answer" do
    connect("child") do |entry|
      fulfill_request(entry, content: "done")
      raise "too late"
    end
    expect(parent.send_to_group(content: 1, to: "child").value).to eq("done")
    expect(next_of(errors).message).to eq("too late")
  end

  it "may answer later, from another thread" do
    entries = Queue.new
    child = connect("child", consumer: { pool_size: 1 }) { |entry| entries << entry }
    futures = Array.new(3) { |index| parent.async_send_to_group(content: index, to: "child") }
    taken = Array.new(3) { next_of(entries) }
    Thread.new { taken.reverse_each { |entry| child.fulfill_request(entry, content: entry.content * 10) } }.join
    expect(futures.map(&:value)).to eq([0, 10, 20])
  end

  it "may not answer twice" do
    second = Queue.new
    connect("child") do |entry|
      fulfill_request(entry, content: 1)
      reject_request(entry, content: 2)
    rescue RedisIPC::AlreadyAnsweredError => e
      second << e
    end
    expect(parent.send_to_group(content: 1, to: "child").value).to eq(1)
    expect(next_of(second)).to have_attributes(stream: "house", group: "child", entry_id: a_string_matching(/-/))
  end

  it "may ask others, and themselves" do
    connect("grandchild", &echo)
    connect("child") do |entry|
      inner = send_to_group(content: entry.content + 1, to: "grandchild").value
      fulfill_request(entry, content: inner + 1)
    end
    connect("mirror") do |entry|
      deeper = entry.content.positive? ? send_to_group(content: entry.content - 1, to: "mirror").value : 0
      fulfill_request(entry, content: deeper + 1)
    end
    expect(parent.send_to_group(content: 1, to: "child").value).to eq(3)
    expect(parent.send_to_group(content: 2, to: "mirror").value).to eq(3)
  end

  it "run side by side, as many as there are consumers" do
    inside = Queue.new
    gate = Queue.new
    connect("child", consumer: { pool_size: 4 }) do |entry|
      inside << entry
      gate.pop
      fulfill_request(entry, content: 1)
    end
    futures = Array.new(6) { parent.async_send_to_group(content: 1, to: "child") }
    4.times { next_of(inside) }
    expect(inside).to be_empty
    6.times { gate << true }
    expect(futures.map(&:value)).to all(eq(1))
  end

  it "go on after errors in on_error, which are printed as warnings" do
    child = build("child") { raise "first" }
    child.on_error { raise "second" }
    child.connect(redis_options: redis_options)
    # Disconnecting also runs the callbacks that are still due.
    expect { 2.times { parent.send_to_group(content: 1, to: "child") } && child.disconnect }
      .to output(/on_error raised RuntimeError: second/).to_stderr_from_any_process
  end

  it "are replaced by setting another" do
    child = connect("child") { |entry| fulfill_request(entry, content: 1) }
    child.on_request { |entry| fulfill_request(entry, content: 2) }
    expect(parent.send_to_group(content: 1, to: "child").value).to eq(2)
  end

  it "lose no consumer thread, whatever they and on_error raise, and even if their thread is killed" do
    child = build("child") do |entry|
      case entry.content
      when "kill" then Thread.current.kill
      when "raise" then raise NotImplementedError
      else fulfill_request(entry, content: "fine")
      end
    end
    child.on_error { |error| raise error }
    child.connect(redis_options: redis_options, consumer: { pool_size: 1 })
    expect do
      expect(parent.send_to_group(content: "raise", to: "child").error).to eq("NotImplementedError")
      expect(parent.send_to_group(content: "kill", to: "child").reason).to match(/handler was stopped/)
      expect(parent.send_to_group(content: "", to: "child").value).to eq("fine")
      child.disconnect
    end.to output(/on_error raised NotImplementedError/).to_stderr_from_any_process
    expect(child).not_to be_connected
  end

  it "get no requests read ahead while the consumers are busy, and do not delay disconnecting" do
    started = Queue.new
    gate = Queue.new
    child = connect("child", consumer: { pool_size: 1 }) { |entry| (started << entry) && gate.pop }
    parent.async_send_to_group(content: 1, to: "child")
    next_of(started)
    expect(seconds { child.disconnect(timeout: 0.1) }).to be < 2
    gate << true
  end
end

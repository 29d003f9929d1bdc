# frozen_string_literal: true

RSpec.describe "what is kept by Marshal" do
  def copy(object)
    Marshal.load(Marshal.dump(object)) # -- it was dumped here
  end

  it "is a response, and the error that holds it" do
    connect("child") { |entry| entry.reject({ why: "no" }) }
    response = connect("parent").send_to_group(content: 1, to: "child")
    loaded = copy(response)
    %i[status content value reason error id redis_id instance_id source_group destination_group rejected?
       inspect].each do |name|
      expect(loaded.public_send(name)).to eq(response.public_send(name))
    end
    error = begin
      response.value!
    rescue RedisIPC::RejectedError => e
      e
    end
    expect(copy(error)).to have_attributes(message: error.message, group: "child", entry_id: response.id)
    expect(copy(error).response.reason).to eq(why: "no")
  end

  it "is an entry, which can be read but not be answered" do
    entries = Queue.new
    stream = connect("child") { |entry| entries << entry }
    future = connect("parent").async_send_to_group(content: { a: [1, nil] }, to: "child", timeout: 20)
    entry = next_of(entries)
    loaded = copy(entry)
    %i[id redis_id instance_id status content source_group destination_group deadline deliveries redelivered?
       traceparent correlation_id inspect].each do |name|
      expect(loaded.public_send(name)).to eq(entry.public_send(name))
    end
    expect(loaded).to be_frozen
    expect(copy(loaded).content).to eq(a: [1, nil])
    [-> { loaded.fulfill(1) }, -> { loaded.reject(1) }, -> { loaded.expired? }, -> { loaded.age },
     -> { stream.fulfill_request(loaded, content: 1) }].each do |use|
      expect(&use).to raise_error(RedisIPC::NotConnectedError, /is a copy that Marshal loaded/) { |error|
        expect(error).to have_attributes(outcome: :not_sent, group: "child", entry_id: entry.id)
      }
    end
    expect(entry.fulfill(3)).to be(true)
    expect(future.value).to eq(3)
  end

  it "is a dead letter, which can be read but neither be retried nor discarded" do
    stream = connect("child", &echo)
    redis.xadd("house:inbox:child", { "hello" => "world" })
    next_of(errors)
    letter = stream.dead_letters.first
    loaded = copy(letter)
    %i[id group request_id redis_id reason deliveries died_at source_group instance_id content raw_content
       inspect].each { |name| expect(loaded.public_send(name)).to eq(letter.public_send(name)) }
    expect(loaded).to be_frozen
    [-> { loaded.retry }, -> { loaded.discard }].each do |use|
      expect(&use).to raise_error(RedisIPC::NotConnectedError, /this dead letter is a copy that Marshal loaded/)
    end
    expect(stream.dead_letters.size).to eq(1)
  end

  it "is nothing that belongs to a connection" do
    contexts = Queue.new
    connect("child") do |entry|
      contexts << self
      fulfill_request(entry, content: 1)
    end
    parent = connect("parent")
    requests = []
    parent.around_request do |request, ask|
      requests << request
      ask.call
    end
    future = parent.async_send_to_group(content: 1, to: "child")
    chained = future.then { |value| value }
    chained.value
    client = RedisIPC::JSONRPC::Client.new("queue")
    [parent, future, chained, parent.dead_letters, contexts.pop, requests.first, client,
     RedisIPC::JSONRPC::Server.new("queue")].each do |object|
      expect { Marshal.dump([object]) }.to raise_error(TypeError, "a #{object.class} cannot be dumped: it belongs to " \
                                                                  "a connection of this process")
    end
  end

  it "is every error" do
    classes = RedisIPC.constants.map { |name| RedisIPC.const_get(name) }.grep(Class)
    classes.select! { |one| one <= RedisIPC::Error }
    expect(classes.size).to be > 10
    [*classes, RedisIPC::JSONRPC::Error].each do |one|
      raise one, "x"
    rescue RedisIPC::Error => e
      expect([e.class, e.message]).to eq([one, "x"])
      expect(copy(e)).to have_attributes(class: one, message: "x", backtrace: e.backtrace)
    end
  end
end

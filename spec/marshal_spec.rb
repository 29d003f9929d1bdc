# frozen_string_literal: true

RSpec.describe "Marshal" do
  def copy(object)
    Marshal.load(Marshal.dump(object)) # -- it was dumped here
  end

  it "dumps a response, and the error that holds it" do
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

  it "refuses what belongs to a connection" do
    contexts = Queue.new
    connect("child") do |entry|
      contexts << self << entry
      fulfill_request(entry, content: 1)
    end
    redis.xadd("house:inbox:child", { "hello" => "world" })
    next_of(errors)
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
    letters = parent.dead_letters(group: "child")
    [parent, future, chained, letters, letters.first, contexts.pop, contexts.pop, requests.first, client,
     RedisIPC::JSONRPC::Server.new("queue")].each do |object|
      expect { Marshal.dump([object]) }.to raise_error(TypeError, "a #{object.class} cannot be dumped: it belongs to " \
                                                                  "a connection of this process")
    end
  end

  it "dumps every error" do
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

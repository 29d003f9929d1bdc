# frozen_string_literal: true

# What a TimeoutError says of the request: who has it, or why nobody took it.
RSpec.describe "the message of a timeout" do
  let(:parent) { connect("parent") }
  let(:started) { Queue.new }
  let(:gate) { Queue.new }

  after { gate.close }

  def message_of_call(to:, asker: parent, timeout: 0.2)
    asker.send_to_group(content: 1, to: to, timeout: timeout)
    raise "the call was answered"
  rescue RedisIPC::TimeoutError => e
    expect(e.message.lines.size).to eq(1)
    e.message
  end

  # Connects an instance that has one request, and takes no other.
  def busy
    connect("child", consumer: { pool_size: 1 }, &held(started, gate))
    parent.async_send_to_group(content: 0, to: "child", timeout: 20)
    next_of(started)
  end

  it "names the groups that are there, and the one that may be meant" do
    2.times { connect("child", &echo) }
    expect(message_of_call(to: "chidl"))
      .to include("no instance of this group takes requests, so this one was withdrawn, and did not and will not run" \
                  '; alive are "child" (2 instances), "parent" (1 instance); did you mean "child"? ')
  end

  it "suggests no group whose name is another one" do
    connect("child", &echo)
    expect(message_of_call(to: "kitchen")).to include('"parent" (1 instance) (stream: house, group: kitchen, ')
  end

  it "says that the instances of the group have no handler" do
    connect("child")
    expect(message_of_call(to: "child")).to include("the 1 instance of this group has no handler (on_request)")
  end

  it "says how many instances of the group did not get to it" do
    busy
    expect(message_of_call(to: "child"))
      .to include("no instance took the request, so it was withdrawn, and did not and will not run; 1 instance of " \
                  "this group is alive, and did not get to it: it is busy, or hangs")
  end

  it "names the process that took it" do
    connect("child", &held(started, gate))
    expect(message_of_call(to: "child"))
      .to match(/the process #{Process.pid} on \S+ took the request \(delivery 1\): whether it ran is not known/)
  end

  it "tells a fiber and a future the same" do
    expect { parent.async_send_to_group(content: 1, to: "nobody", timeout: 0.1).value }
      .to raise_error(RedisIPC::TimeoutError, /alive are "parent" \(1 instance\)/)
  end

  it "tells what is known without the right to ask who has the request, and which right that is" do
    connect("child", &held(started, gate))
    rules = RedisIPC::ACL.rules(:asker, stream: "house", group: "parent", to: "child")
    less = rules.map { |rule| rule.sub("+xinfo|groups +xpending", "+xinfo|groups") }
    redis.call("ACL", "SETUSER", "asker", "on", ">secret", *less)
    asker = connect("parent", redis_options: redis_options.merge(username: "asker", password: "secret"))
    expect(message_of_call(to: "child", asker: asker)).to include("an instance may have taken the request")
    expect(next_of(errors)).to have_attributes(message: /XPENDING house:inbox:child.*\+xpending/)
    asker.disconnect
  ensure
    redis.call("ACL", "DELUSER", "asker")
  end
end

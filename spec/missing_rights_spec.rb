# frozen_string_literal: true

# What is told when the user of a process lacks a right: which command, on which key, and the rule to add.
RSpec.describe "a right that the user lacks" do
  after { redis.call("ACL", "DELUSER", "limited") }

  # Connects as a user who has the rules of the role without these words.
  def limited(role, group, *without, **names, &handler)
    rules = RedisIPC::ACL.rules(role, stream: "house", group: group, **names)
    less = rules.map do |rule|
      without.inject(rule) { |text, word| text.sub(/ ?#{Regexp.escape(word)}(?=[ )]|\z)/, "") }
    end
    redis.call("ACL", "SETUSER", "limited", "on", ">secret", *less)
    connect(group, redis_options: redis_options.merge(username: "limited", password: "secret"), &handler)
  end

  it "to acknowledge is told, and not silent" do
    limited(:answerer, "child", "+xack", &echo)
    expect(connect("parent").send_to_group(content: 1, to: "child").value).to eq(1)
    expect(next_of(errors)).to have_attributes(
      class: RedisIPC::CommandError, message: /NoPerm.*\(the user needs \(~house:inbox:child \+xdel \+xack\)\)/
    )
  end

  it "to answer names the reply stream" do
    limited(:answerer, "child", askers: "nobody", &echo)
    future = connect("parent").async_send_to_group(content: 1, to: "child", timeout: 0.5)
    expect(next_of(errors).message)
      .to match(/an answer was lost: .*NoPerm.*\(the user needs \(~house:replies:parent:\h{32} \+xadd\)\)/)
    expect { future.value }.to raise_error(RedisIPC::TimeoutError)
  end

  it "to ask is told to the caller" do
    asker = limited(:asker, "parent", to: "child")
    expect { asker.send_to_group(content: 1, to: "other") }
      .to raise_error(RedisIPC::CommandError, /NoPerm.*\(the user needs \(~house:inbox:other \+xadd\)\)/)
  end

  it "to take requests names the inbox" do
    limited(:answerer, "child", "+xreadgroup", &echo)
    expect(next_of(errors).message).to match(/NoPerm.*\(the user needs \(~house:inbox:child \+xreadgroup\)\)/)
  end

  it "to read answers names the reply stream" do
    limited(:asker, "parent", "+xread", to: "child")
    expect(next_of(errors).message)
      .to match(/NoPerm.*\(the user needs \(~house:replies:parent:\h{32} \+xread\)\)/)
  end

  it "to read events in order names the stream" do
    rules = RedisIPC::ACL.rules(:event_consumer, stream: "house", group: "child")
    redis.call("ACL", "SETUSER", "limited", "on", ">secret", *rules.map { |rule| rule.sub(" +xread ", " ") })
    told = Queue.new
    subscription = RedisIPC::Events.consume(
      stream: "house", group: "child", order: :key, logger: Consumers.silent, on_error: ->(error) { told << error },
      redis_options: redis_options.merge(username: "limited", password: "secret")
    ) { |event| event }
    expect(next_of(told).message).to match(/NoPerm.*\(the user needs \(~house \+xread\)\)/)
  ensure
    subscription&.stop
  end

  it "to connect is told to whoever connects" do
    expect { limited(:answerer, "child", "+time", &echo) }
      .to raise_error(RedisIPC::CommandError, /NoPerm.*\(the user needs \(\+time\)\)/)
  end
end

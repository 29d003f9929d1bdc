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

  it "to take a request back is told once" do
    asker = limited(:asker, "parent", "+xdel", to: "child")
    2.times do
      expect { asker.send_to_group(content: 1, to: "child", timeout: 0.05) }
        .to raise_error(RedisIPC::TimeoutError, /an instance may have taken the request/)
    end
    rule = "(the user needs (~house:inbox:child +xinfo|groups +xdel))"
    expect(next_of(errors).message).to include("a request whose time is over stays in the inbox: ", rule)
    expect(errors).to be_empty
    asker.disconnect
  end

  it "to let an inbox expire, or to see who is alive, is told once" do
    rules = RedisIPC::ACL.rules(:asker, stream: "house", group: "parent", to: "child")
    less = rules.map { |rule| rule.sub("+xadd +pexpire", "+xadd").sub("instances +zadd +zrange", "instances +zadd") }
    redis.call("ACL", "SETUSER", "limited", "on", ">secret", *less)
    asker = connect("parent", redis_options: redis_options.merge(username: "limited", password: "secret"))
    2.times do
      expect { asker.send_to_group(content: 1, to: "child", timeout: 0.05) }.to raise_error(RedisIPC::TimeoutError)
    end
    expect(Array.new(2) { next_of(errors).message })
      .to contain_exactly(/an inbox that nobody uses any more stays.*\(~house:inbox:child \+pexpire\)/,
                          /cannot say who is alive:.*\(~house:instances \+zrange\)/)
    expect(errors).to be_empty
  end

  describe "for JSON-RPC" do
    let(:credentials) { { redis_options: redis_options.merge(username: "limited", password: "secret") } }

    # Gives the user the rules of the role without this text.
    def grant(role, without)
      rules = RedisIPC::ACL.rules(role, queue: "calculator")
      expect(rules.join(" ")).to include(without)
      redis.call("ACL", "SETUSER", "limited", "on", ">secret", *rules.map { |rule| rule.sub(without, "") })
    end

    it "to take a request back is told once" do
      grant(:json_rpc_client, " +lrem")
      client = rpc_client(**credentials)
      2.times { expect { client.call("add", timeout: 0.05) }.to raise_error(RedisIPC::TimeoutError) }
      expect(next_of(errors).message)
        .to include("requests whose time is over stay on the list: the user needs (%W~calculator +lrem)")
      expect(errors).to be_empty
    end

    it "to let a list of answers expire is told once" do
      rules = RedisIPC::ACL.rules(:json_rpc_server, queue: "calculator")
      rules = rules.map { |rule| rule.include?(":reply:") ? rule.sub(" +pexpire", "") : rule }
      redis.call("ACL", "SETUSER", "limited", "on", ">secret", *rules)
      rpc_server(**credentials) { |server| server.on("add") { |a, b| a + b } }
      client = rpc_client
      2.times { expect(client.call("add", 1, 2)).to eq(3) }
      expect(next_of(errors).message).to include("the user needs (%W~calculator:reply:* +pexpire)")
      expect(errors).to be_empty
    end

    it "of a script names its key and its commands" do
      redis.zadd("calculator:servers", 1, "dead")
      redis.lpush("calculator:processing:dead", '{"jsonrpc":"2.0","method":"add","params":[1,2]}')
      grant(:json_rpc_server, " +zscore")
      rpc_server(lease: 0.2, **credentials) { |server| server.on("add") { |a, b| a + b } }
      expect(next_of(errors).message).to match(/\(the user needs \(~calculator:processing:dead \+zscore \+lindex/)
    end
  end

  it "to connect is told to whoever connects" do
    expect { limited(:answerer, "child", "+time", &echo) }
      .to raise_error(RedisIPC::CommandError, /NoPerm.*\(the user needs \(\+time\)\)/)
  end
end

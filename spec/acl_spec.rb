# frozen_string_literal: true

RSpec.describe RedisIPC::ACL do
  let(:server) { start_server }

  # Returns the rules for a user in the documentation, as words.
  def documented(page, user)
    text = File.read(File.expand_path("../docs/#{page}.md", __dir__))
    text[/^```acl\nuser #{user} on >\S+ (.*?)^```/m, 1].split.join(" ").scan(/\([^)]*\)|\S+/)
  end

  def grant(user, *rules)
    server.client.call("ACL", "SETUSER", user, "on", ">secret", *rules)
  end

  # Asks the server whether the rules of `user` allow a command.
  def allowed?(user, *command)
    server.client.call("ACL", "DRYRUN", user, *command) == "OK"
  end

  {
    %w[security lookout] => [:sentinel, {}],
    %w[security asker] => [:asker, { stream: "house", group: "parent", to: "child" }],
    %w[security answerer] => [:answerer, { stream: "house", group: "child" }],
    %w[security observer] => [:observer, { stream: "house" }],
    %w[security operator] => [:operator, { stream: "house" }],
    %w[security publisher] => [:event_publisher, { stream: "orders" }],
    %w[security consumer] => [:event_consumer, { stream: "orders", group: "billing" }],
    %w[security forwarder] => [:event_forwarder, { stream: "orders", slot: "ipc" }],
    %w[security subscriber] => [:event_subscriber,
                                { channels: "prices", patterns: "rates.*", shard_channels: "quotes" }],
    %w[security watcher] => [:key_subscriber, { keys: "session:*", values: true }],
    %w[security tracker] => [:key_tracker, {}],
    %w[json_rpc client] => [:json_rpc_client, { queue: "calculator" }],
    %w[json_rpc server] => [:json_rpc_server, { queue: "calculator" }]
  }.each do |(page, user), (role, names)|
    it "makes the rules of #{user} that docs/#{page}.md has" do
      expect(described_class.rules(role, **names)).to match_array(documented(page, user))
    end
  end

  # Returns how often the server was sent a command, allowed or not.
  def calls(command)
    server.client.info("commandstats")[command].to_h.values_at("calls", "rejected_calls").sum(&:to_i)
  end

  # Waits until the server has been sent each of these commands once more.
  def await_calls(commands)
    before = commands.to_h { |command| [command, calls(command)] }
    eventually { before.all? { |command, count| calls(command) > count } }
  end

  # The commands of the checks that a consumer repeats once a second.
  {
    none: [{}, %w[xpending xinfo|stream xinfo|groups]],
    key: [{}, %w[xinfo|stream xgroup|setid hgetall]],
    "key in partitions": [{ partitions: 12 }, %w[xinfo|stream hgetall]]
  }.each do |order, (parts, repeated)|
    it "lets publishers and consumers of events with the order #{order} do all that they do" do
      grant("publisher", *described_class.rules(:event_publisher, stream: "orders", **parts))
      grant("consumer", *described_class.rules(:event_consumer, stream: "orders", group: "billing", **parts))
      options = ->(user) { { redis_options: { url: server.url, username: user, password: "secret" } } }
      kept = [Queue.new, errors, Queue.new]
      failing = true
      subscription = RedisIPC::Events.consume(
        stream: "orders", group: "billing", order: [order[/\A\w+/].to_sym, parts], from: :beginning, lease: 0.3,
        attempts: 1, logger: Consumers.silent, on_error: ->(error) { kept[1] << error },
        on_loss: ->(loss) { kept[2] << loss }, **options.call("consumer")
      ) do |event|
        raise IOError if event.data == 1 && failing

        kept.first << event.data
      end
      consumers << subscription
      3.times { |number| RedisIPC::Events.publish("orders", number, key: number, **parts, **options.call("publisher")) }
      RedisIPC::Events.publish("orders", 3, id: "a", keep: 60, **parts, **options.call("publisher"))
      expect(Array.new(3) { next_of(kept.first) }).to match_array([0, 2, 3])
      letter = eventually { subscription.dead_letters.first }
      failing = false
      expect(letter.retry).to be(true)
      expect(next_of(kept.first)).to eq(1)
      eventually { subscription.lag.zero? }
      subscription.checkpoint.seek(:new)
      await_calls(repeated)
      subscription.stop
      expect([Array.new(errors.size) { errors.pop }.map(&:class).uniq, kept.last.size]).to eq([[IOError], 0])
    end
  end

  it "lets subscribers do all that they do, by channels and by patterns, and no more" do
    grant("subscriber", *described_class.rules(:event_subscriber, channels: %w[prices a*b], patterns: "rates.*"))
    options = { redis_options: { url: server.url, username: "subscriber", password: "secret" },
                on_error: errors.method(:<<) }
    kept = Queue.new
    consume = lambda { |**source|
      consumers << RedisIPC::Events.consume(**source, **options) do |event|
        kept << event.source
      end
    }
    consume.call(channel: %w[prices a*b])
    consume.call(pattern: "rates.*")
    %w[prices a*b rates.eur].each { |channel| server.client.publish(channel, "1") }
    expect(Array.new(3) { next_of(kept) }).to match_array(%w[prices a*b rates.eur])
    # Both consumers have repeated their checks by then.
    before = calls("ping")
    eventually { calls("ping") >= before + 4 }
    expect(errors).to be_empty
    expect { consume.call(channel: "axb") }
      .to raise_error(RedisIPC::CommandError, /NOPERM.*The user needs \+subscribe and &axb/i)
    expect { consume.call(pattern: "rates.e*") }
      .to raise_error(RedisIPC::CommandError, /NOPERM.*The user needs \+psubscribe and &rates\.e\*/i)
  end

  it "lets consumers of keyspace notifications do all that they do" do
    server.client.config(:set, "notify-keyspace-events", "KA")
    grant("watcher", *described_class.rules(:key_subscriber, keys: "session:*", values: true))
    kept = Queue.new
    consumers << RedisIPC::Events.consume(
      keys: "session:*", value: true, on_error: errors.method(:<<),
      redis_options: { url: server.url, username: "watcher", password: "secret" }
    ) { |event| kept << event.metadata[:value_state] }
    server.client.set("session:1", "a")
    server.client.hset("session:2", "a", 1)
    server.client.rpush("session:3", "a")
    server.client.sadd?("session:4", "a")
    server.client.zadd("session:5", 1, "a")
    expect([Array.new(5) { next_of(kept) }.uniq, errors.size]).to eq([[:present], 0])
    expect(allowed?("watcher", "GET", "other")).to be(false)
    expect(allowed?("watcher", "SET", "session:1", "a")).to be(false)
  end

  it "makes the rules of who is told of the fields of hashes" do
    expect(described_class.rules(:key_subscriber, keys: "session:*", fields: true))
      .to include("&__subkeyspace@0__:session:*")
  end

  it "lets who is told what to drop from a cache do all that that needs, and no more" do
    grant("tracker", *described_class.rules(:key_tracker))
    kept = Queue.new
    options = { url: server.url, username: "tracker", password: "secret" }
    track = lambda do
      words = { tracking: "user:*", on_error: errors.method(:<<), redis_options: options }
      consumers << RedisIPC::Events.consume(**words) { |event| kept << event.key }
    end
    track.call
    server.client.set("user:1", "a")
    expect(next_of(kept)).to eq("user:1")
    before = calls("ping")
    eventually { calls("ping") >= before + 2 }
    expect(errors).to be_empty
    expect(allowed?("tracker", "GET", "user:1")).to be(false)
    grant("tracker", "-client|tracking")
    needed = /NOPERM.*The user needs \+client\|id \+client\|tracking \+subscribe and &__redis__/i
    expect { track.call }.to raise_error(RedisIPC::CommandError, needed)
  end

  it "gives no access to another queue whose name begins the same" do
    grant("server", *described_class.rules(:json_rpc_server, queue: "calculator"))
    grant("client", *described_class.rules(:json_rpc_client, queue: "calculator"))
    expect(allowed?("server", "LPUSH", "calculator:reply:1", "x")).to be(true)
    expect(allowed?("client", "LPUSH", "calculator", "x")).to be(true)
    %w[calculator:v2 calculator:v2:reply:1 calculator:v2:processing:1 calculator2 calculator:other].each do |key|
      expect(allowed?("server", "LPUSH", key, "x")).to be(false), key
      expect(allowed?("client", "LPUSH", key, "x")).to be(false), key
    end
  end

  it "gives no access to another stream or group whose name begins the same" do
    grant("asker", *described_class.rules(:asker, stream: "house", group: "parent", to: "child"))
    grant("answerer", *described_class.rules(:answerer, stream: "house", group: "child", askers: "parent"))
    expect(allowed?("asker", "XADD", "house:inbox:child", "*", "a", "b")).to be(true)
    expect(allowed?("answerer", "XADD", "house:replies:parent:1", "*", "a", "b")).to be(true)
    %w[house:inbox:child2 house:inbox:child%3A2 house:v2:inbox:child house:replies:parent2:1].each do |key|
      expect(allowed?("asker", "XADD", key, "*", "a", "b")).to be(false), key
      expect(allowed?("answerer", "XADD", key, "*", "a", "b")).to be(false), key
    end
  end

  it "takes names that look like patterns literally" do
    grant("client", *described_class.rules(:json_rpc_client, queue: "a*[b]?\\"))
    expect(allowed?("client", "LPUSH", "a*[b]?\\", "x")).to be(true)
    expect(allowed?("client", "LPUSH", "a1bx\\", "x")).to be(false)
    grant("asker", *described_class.rules(:asker, stream: "house", group: "a:b", to: %w[c* d%]))
    expect(allowed?("asker", "DEL", "house:replies:a%3Ab:1")).to be(true)
    expect(allowed?("asker", "XADD", "house:inbox:d%25", "*", "a", "b")).to be(true)
    expect(allowed?("asker", "XADD", "house:inbox:cc", "*", "a", "b")).to be(false)
  end

  it "refuses names that no rule can hold, and options that a role does not know" do
    ["a b", "a\tb", "a)", "(a", "a\0b"].each do |name|
      expect { described_class.rules(:json_rpc_client, queue: name) }.to raise_error(ArgumentError, /no ACL rule/), name
    end
    expect { described_class.rules(:asker, stream: "house", group: "", to: "b") }.to raise_error(ArgumentError, /blank/)
    expect { described_class.rules(:asker, stream: "house", group: "a") }.to raise_error(ArgumentError, /to/)
    expect { described_class.rules(:observer, group: "house") }.to raise_error(ArgumentError, /group/)
    expect { described_class.rules(:operator) }.to raise_error(ArgumentError, /stream:, queue: or events:/)
    expect do
      described_class.rules(:event_subscriber)
    end.to raise_error(ArgumentError, /channels:, patterns: or shard_channels:/)
    expect { described_class.rules(:name, stream: "house") }.to raise_error(ArgumentError, /role must be one of/)
  end

  it "gives more rights for a cluster or a sentinel" do
    rules = described_class.rules(:json_rpc_client, queue: "q", cluster: true, sentinels: true)
    expect(rules - described_class.rules(:json_rpc_client, queue: "q")).to eq(%w[+cluster|slots +asking +role])
  end

  it "relies on names that no other stream or queue can have" do
    %w[house:inbox:child house:replies:parent house:instances house:reply:x].each do |name|
      expect { RedisIPC::JSONRPC::Server.new(name, redis_options: redis_options).connect }
        .to raise_error(ArgumentError, /share keys/), name
    end
    %w[calculator:reply:x calculator:processing].each do |name|
      stream = RedisIPC::Stream.new(name, "a")
      expect { stream.connect(redis_options: redis_options) }.to raise_error(ArgumentError, /share keys/), name
    end
  end
end

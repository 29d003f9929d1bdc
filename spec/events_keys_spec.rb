# frozen_string_literal: true

RSpec.describe "events of keys" do
  let(:server) { start_server(notify_keyspace_events: "KA") }
  let(:client) { server.client }
  let(:got) { Queue.new }
  let(:losses) { Queue.new }

  # Handles events of keys. Errors go to `errors`, losses to `losses`.
  def watch(keys = "session:*", redis_options: { path: server.path }, **words, &block)
    consume_from(keys: keys, redis_options: redis_options, on_loss: losses.method(:<<), **words, &block)
  end

  it "are handled with the key and what happened to it" do
    kept = got
    watch(order: :source) { |event| kept << event }
    client.set("session:1", "a")
    client.del("session:1")
    client.set("other", "a")
    client.hset("session:{ü}", "a", 1)
    set, del, hset = next_ones(3)
    expect(set).to have_attributes(
      source: "db0", kind: :keyspace, operation: :update, type: "set", key: "session:1", data: nil, position: nil,
      guarantee: :at_most_once, metadata: { event: "set", node: server.path }
    )
    expect(del).to have_attributes(operation: :delete, type: "del", key: "session:1")
    expect(hset).to have_attributes(operation: :update, type: "hset", key: "session:{ü}")
    expect(del.to_h).to include("kind" => "keyspace", "operation" => "delete", "key" => "session:1", "type" => "del")
  end

  it "are only those that are declared, with a handler for each" do
    kept = got
    server_path = server.path
    start(Class.new(RedisIPC::Events::Consumer) do
      keys "session:*", "cart:*", on: %i[expired del]
      options redis_options: { path: server_path }, logger: Consumers.silent
      on(:expired) { |event| kept << [:expired, event.key] }
      define_method(:call) { |event| kept << [event.type, event.key] }
    end)
    client.set("session:1", "a", px: 1)
    client.set("cart:1", "a")
    client.del("cart:1")
    eventually { client.get("session:1").nil? }
    expect(next_ones(2)).to contain_exactly([:expired, "session:1"], ["del", "cart:1"])
    expect(happens?(within: 0.1) { got.size.positive? }).to be(false)
  end

  it "have the value of the key at that time, if the consumer wants it" do
    kept = got
    watch(value: true, order: :source) { |event| kept << [event.type, event.data, event.metadata[:value_state]] }
    client.set("session:1", "a\xFF".b)
    expect(next_of(got)).to eq(["set", { "value" => "a\xFF".b }, :present])
    client.del("session:1")
    client.xadd("session:2", { "a" => 1 })
    client.multi do |transaction|
      transaction.set("session:3", "b")
      transaction.del("session:3")
    end
    expect(next_ones(4)).to eq([["del", nil, :gone], ["xadd", nil, :unknown], ["set", nil, :gone], ["del", nil, :gone]])
    expect(errors).to be_empty
  end

  it "have the elements of a hash, a list, a set and a sorted set, unless these are many or large" do
    kept = got
    watch(value: true, order: :source, max_event_size: 100_000) do |event|
      kept << [event.data&.fetch("value"), event.metadata[:value_state], event.to_h["data"]]
    end
    read = ->(&write) { write.call && next_of(got) }
    expect(read.call { client.hset("session:1", "a", "1", "b\xFF".b, "") })
      .to eq([{ "a" => "1", "b\xFF".b => "" }, :present, { "value" => { "a" => "1", "b\uFFFD" => "" } }])
    expect(read.call { client.rpush("session:2", %w[a b a]) }.first).to eq(%w[a b a])
    expect(read.call { client.sadd("session:3", %w[a b]) }.first).to match_array(%w[a b])
    expect(read.call { client.zadd("session:4", [[2, "b"], [-0.5, "a"], %w[inf c]]) }.first(2))
      .to eq([{ "a" => -0.5, "b" => 2.0, "c" => Float::INFINITY }, :present])
    expect(read.call { client.rpush("session:5", Array.new(1_001, "a")) }).to eq([nil, :unknown, nil])
    expect(read.call { client.rpush("session:6", ["a" * 100_000]) }).to eq([nil, :unknown, nil])
    expect(errors).to be_empty
  end

  # Redis tells of fields from 8.8 on. An older one passes on what is published in that form.
  it "tell the fields of hashes with fields: true" do
    kept = got
    client.call("ACL", "SETUSER", "reader", "on", ">secret", "allchannels", "allkeys", "+@all", "-config")
    watch(fields: true, on: %w[hset hexpired], order: :source,
          redis_options: { path: server.path, username: "reader", password: "secret" }) do |event|
      kept << [event.type, event.key, event.operation, event.metadata[:fields]]
    end
    tell = ->(payload, key = "session:1") { client.publish("__subkeyspace@0__:#{key}", payload) }
    ["hset|4:name,3:a,b", "hdel|1:a", "hset", "hset|9:a", "hexpired|0:,2:\xFF|".b].each { |payload| tell.call(payload) }
    client.hset("session:1", "name", "x")
    tell.call("hset|1:z", "session:{ü}")
    expect(next_ones(3)).to eq([["hset", "session:1", :update, ["name", "a,b"]],
                                ["hexpired", "session:1", :update, ["", "\xFF|".b]],
                                ["hset", "session:{ü}", :update, ["z"]]])
  end

  it "refuse fields: true where Redis does not tell of them" do
    expect { watch(fields: true) { |event| event } }
      .to raise_error(RedisIPC::ConfigurationError, /lacks S \(fields, which Redis 8.8 and later tell of\)/)
  end

  it "are ordered for each key, and go on at the same time for others" do
    gate = Queue.new
    kept = got
    watch(concurrency: { threads: 4 }) { |event| (kept << [event.key, event.type]) && gate.pop }
    client.set("session:1", "a")
    client.del("session:1")
    client.set("session:2", "a")
    expect(next_ones(2)).to contain_exactly(["session:1", "set"], ["session:2", "set"])
    gate.close
    expect(next_of(got)).to eq(["session:1", "del"])
  end

  it "are counted if they can be missing: keys that expire or are evicted; others have no known bound" do
    watch(on: :expired) { |event| event }
    watch { |event| event }
    eventually { client.info("commandstats").dig("ping", "calls").to_i > 7 }
    while_unsubscribed(client) do
      5.times { |number| client.set("session:#{number}", "a", px: 1) }
      eventually { client.info("stats")["expired_keys"].to_i == 5 }
    end
    expect([next_of(losses), next_of(losses)].map(&:at_most)).to contain_exactly(5, nil)
  end

  it "are refused if Redis does not publish them, and the flag is named" do
    { "" => 'is "", and lacks K', "K" => "lacks a class of events, such as A", "Kx" => "lacks g (for del)" }
      .each do |set, why|
      client.config(:set, "notify-keyspace-events", set)
      expect { watch(on: (%i[expired del] if set == "Kx")) { |event| event } }
        .to raise_error(RedisIPC::ConfigurationError, /#{Regexp.escape(why)}/), set
    end
  end

  it "are refused for declarations that mean nothing" do
    refused = lambda do |message, **words|
      expect { watch(**words) { |event| event } }.to raise_error(RedisIPC::ConfigurationError, message)
    end
    refused.call(/unknown option :json of keys/, json: true)
    refused.call(/value: of keys of .* must be true or false, got 7/, value: 7)
    refused.call(/on: of keys of .* needs a name/, on: [])
    refused.call(/must be one of :key, :source, :none, got :channel/, order: :channel)
  end

  it "come from every node of a cluster, and from one that takes the place of another" do
    cluster = RedisCluster.new(notify_keyspace_events: "KA")
    kept = got
    watch("*", redis_options: cluster.options, on: :set) { |event| kept << [event.key, event.metadata[:node]] }
    names = cluster.masters.map { |node| cluster.name_on(node, "key") { |name| name } }
    names.each { |name| cluster.master_of(name).client.set(name, "a") }
    nodes = names.map { |name| "127.0.0.1:#{cluster.master_of(name).port}" }
    expect(next_ones(3)).to match_array(names.zip(nodes))
    left = Time.now
    # The old node answers all the while, and tells nothing.
    cluster.take_over(names.last)
    expect(next_of(losses, timeout: 30)).to have_attributes(cause: :failover, at_most: nil, since: be <= left)
    replica = cluster.kill_master_of(names.first)
    loss = next_of(losses, timeout: 30)
    expect(loss).to have_attributes(source: "*", cause: :failover, at_most: nil, node: "127.0.0.1:#{replica.port}")
    replica.client.set(names.first, "b")
    expect(next_of(got)).to eq([names.first, "127.0.0.1:#{replica.port}"])
  ensure
    cluster&.stop
  end
end

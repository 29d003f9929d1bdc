# frozen_string_literal: true

# A Redis that evicts keys when its memory is full.
RSpec.describe "a Redis that evicts keys" do
  let(:server) { start_server }

  def evict_by(policy, limit: "100mb")
    server.client.config(:set, "maxmemory", limit)
    server.client.config(:set, "maxmemory-policy", policy)
  end

  def join(group = "child", **options)
    build(group, &echo).connect(redis_options: { path: server.path, **options }, ledger: { cleanup_interval: 0.1 })
  end

  def warnings
    Array.new(errors.size) { errors.pop }.grep(RedisIPC::ConfigurationError)
  end

  it "is a warning at connect, and the likely cause of keys that vanish" do
    evict_by("volatile-lru")
    child = join
    expect(next_of(errors)).to be_a(RedisIPC::ConfigurationError)
      .and have_attributes(message: /policy volatile-lru.*may be lost.*noeviction.*stream: house, group: child/)
    server.client.del("house:inbox:child")
    lost = next_of(errors)
    expect(lost.message).to match(/UNBLOCKED.*Redis has probably evicted it: its maxmemory-policy is volatile-lru/)
    eventually { child.connected? }
    parent = join("parent")
    expect(next_of(errors)).to be_a(RedisIPC::ConfigurationError)
    parent.async_send_to_group(content: 1, to: "nobody", timeout: 20)
    server.client.del("house:replies:parent:#{parent.instance_id}")
    expect(next_of(errors).message).to match(/the reply stream was gone.*probably evicted it.*volatile-lru/)
  end

  it "is not a warning where Redis has no limit, evicts nothing, or the user may not ask" do
    evict_by("volatile-lru", limit: "0")
    join
    evict_by("noeviction")
    join
    evict_by("allkeys-lru")
    rules = RedisIPC::ACL.rules(:answerer, stream: "house", group: "child")
    server.client.call("ACL", "SETUSER", "child", "on", ">secret", *rules)
    child = join(username: "child", password: "secret")
    server.client.del("house:inbox:child")
    # A reader that was between two reads meets a missing group instead.
    expect(next_of(errors).message).to match(/UNBLOCKED|NOGROUP/).and(satisfy { |text| !text.include?("evict") })
    eventually { child.connected? }
    expect(warnings).to be_empty
  end

  it "is a warning for JSON-RPC, and for consumers of streams if keys without an expiry are evicted" do
    evict_by("volatile-ttl")
    redis_options = { path: server.path }
    rpc_server("jobs", redis_options: redis_options) { |jobs| jobs.on("ping") { "pong" } }
    expect(next_of(errors).message).to match(/volatile-ttl.*the signs of life of the servers may be lost.*stream: jobs/)
    consume(redis_options: redis_options) { nil }
    consume(redis_options: redis_options, group: "sorted", order: :key) { nil }
    evict_by("allkeys-lru")
    consume(redis_options: redis_options, group: "other") { nil }
    expect(next_of(errors).message).to match(/allkeys-lru.*events, positions and dead letters may.*group: other/)
    consume(redis_options: redis_options, group: "ordered", order: :key) { nil }
    expect(next_of(errors).message).to match(/allkeys-lru.*group: ordered/)
    expect(errors).to be_empty
  end
end

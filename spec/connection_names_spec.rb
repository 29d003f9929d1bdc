# frozen_string_literal: true

# The names that `CLIENT LIST` shows: whose a connection is, and what it is for.
RSpec.describe "the names of connections" do
  let(:server) { start_server }
  let(:redis_options) { { path: server.path } }

  # Returns the names of all connections but that of this spec, each once.
  def names
    server.client.client(:list).filter_map { |row| row["name"] unless row["name"].to_s.empty? }.uniq.sort
  end

  def await_names(*expected)
    eventually { names == expected.sort } || expect(names).to(eq(expected.sort))
  end

  it "are those of the stream, the group and the purpose" do
    child = connect("child:1", stream: "app:house", &echo)
    await_names(*%w[sender reader replies work].map { |purpose| "redis_ipc:app:house:child%3A1:#{purpose}" })
    child.disconnect
    connect("über uns")
    await_names(*%w[sender replies work].map { |purpose| "redis_ipc:house:%C3%BCber%20uns:#{purpose}" })
  end

  it "are those of the queue of JSON-RPC" do
    server_end = rpc_server("jobs") { |jobs| jobs.on("ping") { "pong" } }
    client = rpc_client("jobs")
    expect(client.call("ping")).to eq("pong")
    await_names(*%w[sender reader replies work].map { |purpose| "redis_ipc:jobs::#{purpose}" })
    [client, server_end].each(&:disconnect)
  end

  it "are those of consumers and publishers of events" do
    plain = consume { nil }
    await_names("redis_ipc:orders:billing:reader", "redis_ipc:orders:billing:work")
    plain.stop
    sorted = consume(order: :key, group: "sorted") { nil }
    await_names("redis_ipc:orders:sorted:lanes", "redis_ipc:orders:sorted:reader")
    sorted.stop
    consume_from(channel: "prices", redis_options: redis_options) { nil }
    await_names("redis_ipc:prices::subscriber", "redis_ipc:prices::work")
    RedisIPC::Events.publish("orders", 1, redis_options: redis_options)
    expect(names).to include("redis_ipc:events:publisher:sender")
  end

  it "are not needed: a user who may not name them is served all the same" do
    connect("child", &echo)
    rules = RedisIPC::ACL.rules(:asker, stream: "house", group: "parent", to: "child") - ["+client|setname"]
    server.client.call("ACL", "SETUSER", "parent", "on", ">secret", *rules)
    parent = connect("parent", redis_options: { path: server.path, username: "parent", password: "secret" })
    expect(parent.send_to_group(content: 1, to: "child").value).to eq(1)
    expect(names.grep(/parent/)).to be_empty
    expect(errors).to be_empty
  end
end

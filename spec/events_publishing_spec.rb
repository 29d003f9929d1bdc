# frozen_string_literal: true

RSpec.describe "publishing" do
  let(:got) { Queue.new }

  def entries(stream = "orders", client: redis)
    client.xrange(stream).map { |_, fields| JSON.parse(fields["data"]) }
  end

  describe "by a connection that breaks" do
    let(:server) { start_server }
    let(:proxy) { LossyProxy.new(server.path) }
    let(:redis_options) { { url: proxy.url } }
    # Matches the position of an entry, and no error about a command that the server does not know.
    let(:position) { /\d-\d/ }

    before { publish(0) }
    after { proxy.stop }

    it "adds each event once, in order, whichever reply was lost" do
      proxy.lose_reply_to("XADD", matching: position)
      first = publish(1)
      proxy.lose_reply_to("XADD", matching: position)
      positions = RedisIPC::Events.publish_all("orders", (2...40).map { |number| { data: number } },
                                               redis_options: redis_options)
      expect(proxy.lost.size).to eq(2)
      expect(entries(client: server.client)).to eq((0...40).to_a)
      expect(server.client.xrange("orders").map(&:first).drop(1)).to eq([first, *positions])
    end

    it "keeps trying while Redis is down, for connect_timeout" do
      proxy.lose_reply_to("XADD", matching: position, outage: 0.2)
      publish(1)
      options = redis_options.merge(connect_timeout: 0.3)
      RedisIPC::Events.publish("orders", 2, redis_options: options)
      proxy.lose_reply_to("XADD", matching: position, outage: 60)
      expect { RedisIPC::Events.publish("orders", 3, redis_options: options) }
        .to raise_error(RedisIPC::ConnectionError) { |error| expect(error.outcome).to eq(:unknown) }
      expect { RedisIPC::Events.publish("orders", 4, redis_options: options) }
        .to raise_error(RedisIPC::ConnectionError) { |error| expect(error.outcome).to eq(:not_sent) }
      expect(entries(client: server.client)).to eq([0, 1, 2, 3])
    end

    it "adds an event with an id of the application once, too" do
      proxy.lose_reply_to("EVAL", matching: position)
      publish(1, id: "row 1")
      expect(proxy.lost.size).to eq(1)
      expect(entries(client: server.client)).to eq([0, 1])
    end
  end

  it "raises Redis's refusal, and the events before that are in the stream" do
    # There is room for one more entry.
    redis.xadd("orders", { "data" => "0" }, id: "#{(2**64) - 1}-#{(2**64) - 2}")
    expect { publish_all([1, 2, 3]) }
      .to raise_error(RedisIPC::CommandError, /last possible ID/) { |error| expect(error.outcome).to eq(:unknown) }
    expect(entries).to eq([0, 1])
    expect { publish(Float::NAN) }.to raise_error(RedisIPC::ContentError)
    expect { publish(4, maxlen: -1) }.to raise_error(ArgumentError)
    expect(entries).to eq([0, 1])
  end

  it "can be interrupted while Redis hangs, from many threads and in a fork" do
    server = start_server
    gated = GatedServer.new(server.path, commands: %w[XADD])
    options = gated.redis_options
    publish = ->(data) { RedisIPC::Events.publish("orders", data, redis_options: options) }
    publish.call(0)
    gated.gate = Queue.new
    expect { Timeout.timeout(0.1) { publish.call(1) } }.to raise_error(Timeout::Error)
    gated.gate << :pass
    next_of(gated.arrivals)
    gated.gate = nil
    Array.new(10) { |number| Thread.new { publish.call(number + 2) } }.each(&:join)
    status = Process.wait2(fork { exit!(publish.call(12) ? 0 : 1) }).last
    expect(status).to be_success
    eventually { server.client.xlen("orders") == 13 }
    expect(entries(client: server.client)).to match_array(0..12)
  ensure
    gated&.stop
  end

  describe "with the application's id" do
    it "adds an event once, and returns the position of the first" do
      first = publish({ n: 1 }, id: "row 1", type: "order.paid", key: 7)
      expect(publish({ n: 2 }, id: :"row 1")).to eq(first)
      mixed = RedisIPC::Events.publish_all("orders", [{ data: 3 }, { data: 4, id: "row 1" }, { data: 5, id: 2 },
                                                      { data: 6, id: 2 }], redis_options: redis_options)
      expect([mixed[1], mixed[3]]).to eq([first, mixed[2]])
      expect(redis.xrange("orders").map { |id, fields| [id, fields.values_at("data", "type", "key")] })
        .to eq([[first, ['{"n":1}', "order.paid", "7"]], [mixed[0], ["3", nil, nil]], [mixed[2], ["5", nil, nil]]])
      expect(redis.xrange("orders").map { |_, fields| fields["id"] }).to match(["row 1", an_instance_of(String), "2"])
      RedisIPC::Events.publish("others", 1, id: "row 1", redis_options: redis_options)
      expect(redis.xlen("others")).to eq(1)
    end

    it "remembers it for remember: seconds, in the slot of the stream" do
      publish(1, id: "a")
      publish(1, id: "b", remember: 3600)
      RedisIPC::Events.publish("{shop}:orders", 1, id: "a", redis_options: redis_options)
      expect(redis.ttl("{orders}:events:id:a")).to be_between(590, 600)
      expect(redis.ttl("{orders}:events:id:b")).to be_between(3590, 3600)
      expect(redis.ttl("{shop}:orders:events:id:a")).to be_positive
    end

    it "refuses an invalid id, and an invalid time to remember it" do
      expect { publish(1, id: "x" * 256) }.to raise_error(ArgumentError, /at most 255 bytes, got 256/)
      expect { publish(1, id: " ") }.to raise_error(ArgumentError, /the event's id cannot be blank/)
      expect { publish(1, id: [1]) }.to raise_error(ArgumentError, /must be a String or a Symbol/)
      expect { publish(1, remember: 0) }.to raise_error(ArgumentError, /remember must be a number of seconds over 0/)
      expect { publish(1, remembr: 1) }.to raise_error(ArgumentError, /unknown keyword/)
    end
  end

  describe "of two entries with the same id" do
    def add(fields)
      redis.xadd("orders", fields)
    end

    it "a process handles one" do
      kept = got
      subscription = consume { |event| kept << event.data }
      2.times { add("data" => "1", "id" => "a") }
      add("data" => "2", "id" => "b")
      expect(Array.new(2) { next_of(got) }).to contain_exactly(1, 2)
      eventually { subscription.stats.values_at(:suppressed, :acknowledged) == [1, 3] }
      expect(got).to be_empty
    end

    it "a process handles both if it is told so, or if other programs wrote them" do
      kept = got
      consume(remember_ids: 0) { |event| kept << event.data }
      consume(group: "json", json: "data") { |event| kept << event.data }
      consume(group: "other") { |event| kept << event.data if event["x"] }
      2.times { add("data" => "1", "id" => "a") }
      2.times { add("data" => "1", "id" => "a", "x" => "1") }
      expect(Array.new(10) { next_of(got) }.count { |data| data.is_a?(Hash) }).to eq(4)
    end

    it "an event that failed is still tried again" do
      kept = got
      tries = Queue.new
      consume { |event| (tries << 1).size < 3 ? raise("no") : kept << event.attempt }
      add("data" => "1", "id" => "a")
      expect(next_of(got)).to eq(3)
    end
  end

  describe "with a limit" do
    let(:log) { StringIO.new }
    let(:told) { Queue.new }
    # The log has one line a minute about each stream, so each example has a stream of its own.
    let(:stream) { "orders-#{SecureRandom.hex(4)}" }

    # Redis trims whole nodes of 100 entries.
    def fill(count, **options)
      count.times do |number|
        RedisIPC::Events.publish_all(stream, Array.new(100) { |index| { data: (number * 100) + index } },
                                     redis_options: redis_options, **options)
      end
    end

    def length
      redis.xlen(stream)
    end

    # Reads `count` entries, and acknowledges all but one.
    def read(group, count)
      redis.xgroup(:create, stream, group, "0", mkstream: true)
      ids = redis.xreadgroup(group, "me", stream, ">", count: count).fetch(stream, []).map(&:first)
      redis.xack(stream, group, ids.drop(1)) if ids.size > 1
    end

    around do |example|
      RedisIPC.configure { |configuration| configuration.logger = Logger.new(log) }
      kept = told
      subscription = RedisIPC.subscribe(:trim) { |notification| kept << notification.payload }
      example.run
    ensure
      RedisIPC.unsubscribe(subscription)
      RedisIPC.configure { |configuration| configuration.logger = nil }
    end

    it "removes what every group has acknowledged, and without a group all" do
      fill(10, maxlen: 200)
      expect(length).to be_between(200, 300)
      redis.xgroup(:create, stream, "billing", "$")
      fill(10, maxlen: 200)
      expect(length).to be_between(1000, 1300)
      expect(told.pop).to include(stream: stream, removed: 0, lost: 0)
    end

    it "keeps what a group has not acknowledged, up to a multiple of the limit" do
      read("ahead", 1)
      fill(6, maxlen: 100, unread: 5)
      read("behind", 350)
      # The group "ahead" has none of those pending.
      redis.xgroup(:setid, stream, "ahead", "$")
      expect(length).to be_between(500, 600)
      fill(1, maxlen: 100, unread: :keep)
      fill(1, maxlen: 100, unread: :keep)
      expect(length).to be > 600
      expect(entries(stream).first).to be <= 100
      fill(1, maxlen: 100, unread: :drop)
      fill(1, maxlen: 100, unread: :drop)
      expect(length).to be_between(100, 200)
    end

    it "counts what it deletes unread, and names the group that keeps the stream long" do
      read("dead", 1)
      fill(8, maxlen: 100, unread: 4)
      facts = Array.new(told.size) { told.pop }
      expect(facts.sum { |one| one[:lost] }).to be_between(300, 400)
      expect(facts.last).to include(group: "dead")
      expect(log.string.lines.size).to eq(1)
      expect(log.string).to match(/up to \d+ entries of the stream #{stream}|keeps the stream #{stream} at/)
    end

    it "goes by age, too" do
      old = (Time.now.to_i - 7200) * 1000
      redis.pipelined { |pipe| 300.times { |number| pipe.xadd(stream, { "data" => "0" }, id: "#{old}-#{number + 1}") } }
      redis.xgroup(:create, stream, "slow", "#{old}-150")
      publish = lambda do |**options|
        RedisIPC::Events.publish_all(stream, Array.new(100) { { data: 1 } }, redis_options: redis_options, **options)
      end
      publish.call(keep: 3600)
      expect(entries(stream)).to eq(([0] * 200) + ([1] * 100))
      expect(told.pop).to eq(stream: stream, removed: 100, lost: 0, group: "slow")
      publish.call(keep: 3600, unread: 1.5)
      expect(entries(stream)).to eq([1] * 200)
      expect(told.pop).to eq(stream: stream, removed: 200, lost: 200, group: "slow")
    end

    it "does not fail if Redis refuses to trim" do
      redis.call("ACL", "SETUSER", "publisher", "on", ">secret", "~*", "+@all", "-xinfo", "-xtrim", "-eval")
      options = redis_options.merge(username: "publisher", password: "secret")
      expect(RedisIPC::Events.publish(stream, 1, maxlen: 10, redis_options: options)).to match(/-/)
      expect(log.string).to include("the stream #{stream} could not be trimmed: NOPERM")
    ensure
      redis.call("ACL", "DELUSER", "publisher")
    end

    it "refuses an invalid limit" do
      expect do
        publish(1, maxlen: 1, unread: 0.5)
      end.to raise_error(ArgumentError, /unread must be :keep, :drop or how many/)
      expect { publish(1, maxlen: 1, unread: :all) }.to raise_error(ArgumentError, /got :all/)
      expect { publish(1, maxlen: 1, keep: 1) }.to raise_error(ArgumentError, /maxlen or keep, not both/)
    end
  end
end

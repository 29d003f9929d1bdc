# frozen_string_literal: true

RSpec.describe "events of channels" do
  let(:got) { Queue.new }
  let(:losses) { Queue.new }

  # Handles messages with a block. Errors go to `errors`, losses to `losses`.
  def listen(channel: "prices", **words, &block)
    words = { redis_options: redis_options, on_loss: losses.method(:<<) }.merge(words)
    words[:channel] = channel unless words.key?(:pattern)
    consume_from(**words, &block)
  end

  def publish_to(channel, *payloads)
    payloads.each { |payload| redis.publish(channel, payload) }
  end

  # Breaks every subscription.
  def cut
    redis.call("CLIENT", "KILL", "TYPE", "pubsub")
  end

  def subscribers
    redis.call("PUBSUB", "NUMSUB", "prices").last
  end

  describe "that are published" do
    it "are handled with the metadata of this source" do
      kept = got
      listen { |event| kept << event }
      publish_to("prices", "ü")
      event = next_of(got)
      expect(event).to have_attributes(
        source: "prices", kind: :pubsub, operation: :message, data: "ü", type: nil, key: nil, position: nil, attempt: 1,
        redelivered?: false, fence: nil, guarantee: :at_most_once, metadata: { node: RedisServer.shared.path },
        occurred_at: be_within(10).of(Time.now), received_at: be_within(10).of(Time.now)
      )
      expect(event.to_h).to include("position" => nil, "kind" => "pubsub", "data" => "ü")
      expect(Marshal.load(Marshal.dump(event)).to_h).to eq(event.to_h)
      expect([event.frozen?, event.data.frozen?]).to eq([true, true])
      expect(event.inspect).to eq("#<RedisIPC::ChangeEvent prices, attempt 1>")
    end

    it "are binary if they are not UTF-8, and may be empty" do
      kept = got
      listen { |event| kept << event.data }
      publish_to("prices", "\xFF".b, "")
      expect(next_ones(2)).to eq(["\xFF".b, ""])
    end

    it "come by channels or by patterns" do
      kept = got
      listen(channel: [:prices, "rates"]) { |event| kept << [event.source, event.metadata[:pattern]] }
      listen(pattern: ["price*", "[q]*"]) { |event| kept << [event.source, event.metadata[:pattern]] }
      %w[prices rates quotes other].each { |channel| publish_to(channel, "1") }
      expect(next_ones(4)).to contain_exactly(["prices", nil], ["prices", "price*"], ["rates", nil], ["quotes", "[q]*"])
    end

    it "are decoded, and have the type, that the consumer declares" do
      kept = got
      start(Class.new(RedisIPC::Events::Consumer) do
        channel "prices", json: true, type: "kind"
        options redis_options: { path: RedisServer.shared.path }, logger: Consumers.silent
        on_error { |error| kept << error.message }
        on("tick") { |event| kept << [:tick, event["value"]] }
        define_method(:call) { |event| kept << [event.type, event.data] }
      end)
      publish_to("prices", '{"kind":"tick","value":7}', "[1]", '{"kind":null}', "no{")
      expect(next_ones(4)).to eq([[:tick, 7], [nil, [1]], [nil, { "kind" => nil }], "the message is no JSON"])
    end

    it "reach each consumer that is subscribed, and no other" do
      kept = got
      2.times { |number| listen { |event| kept << [number, event.data] } }
      publish_to("prices", "a")
      publish_to("prices2", "b")
      expect(next_ones(2)).to contain_exactly([0, "a"], [1, "a"])
      expect(subscribers).to eq(2)
    end

    it "are handled in batches" do
      kept = got
      listen(batch: { size: 3, within: 5 }) { |events| kept << events.map(&:data) }
      publish_to("prices", *"a".."f")
      expect(next_ones(2)).to eq([%w[a b c], %w[d e f]])
    end

    it "arrive over TLS" do
      certificates = Certificates.new
      certificate, key = certificates.for("server")
      port = RedisServer.free_port
      server = start_server(tls_port: port, tls_cert_file: certificate, tls_key_file: key,
                            tls_ca_cert_file: certificates.authority_file, tls_auth_clients: "no")
      tls = { url: "rediss://localhost:#{port}", ssl_params: { ca_file: certificates.authority_file } }
      kept = got
      sub = listen(redis_options: tls) { |event| kept << event.data.size }
      server.client.publish("prices", "x" * 300_000)
      expect(next_of(got)).to eq(300_000)
      eventually { server.client.info("commandstats").dig("ping", "calls").to_i > 2 }
      server.client.publish("prices", "after a PING")
      expect([next_of(got), sub.stats[:reconnections], errors.size]).to eq([12, 0, 0])
    ensure
      certificates&.remove
    end
  end

  describe "their order" do
    # Publishes two messages to each of two channels. Their handlers wait.
    def held(**words)
      gate = Queue.new
      kept = got
      listen(channel: %w[a b], concurrency: { threads: 4 }, **words) do |event|
        kept << event.data
        gate.pop
      end
      %w[a1 a2 b1 b2].each { |name| publish_to(name[0], name) }
      gate
    end

    it "is that of each channel, and channels go on at the same time" do
      gate = held
      expect(next_ones(2)).to contain_exactly("a1", "b1")
      expect(happens?(within: 0.1) { got.size.positive? }).to be(false)
      4.times { gate << true }
      expect(next_ones(2)).to contain_exactly("a2", "b2")
    end

    it "is that of all with order: :source" do
      gate = held(order: :source)
      4.times { gate << true }
      expect(next_ones(4)).to eq(%w[a1 a2 b1 b2])
    end

    it "does not matter with order: :none" do
      gate = held(order: :none)
      expect(next_ones(4)).to match_array(%w[a1 a2 b1 b2])
      4.times { gate << true }
    end

    [{ threads: 3 }, { fibers: 3 }, { processes: 2 }].each do |concurrency|
      it "is kept in #{concurrency.keys.first}, with a loss in its place",
         gem: ("async" if concurrency.key?(:fibers)) do
        reader, writer = IO.pipe
        # How many at most is for other examples: on a busy machine the server may have been asked long before.
        listen(concurrency: concurrency, on_loss: ->(loss) { writer.puts("lost") if loss.at_most >= 1 }) do |event|
          writer.puts(event.data)
        end
        publish_to("prices", *1..20)
        while_away { publish_to("prices", 21) }
        publish_to("prices", *22..30)
        expect(Array.new(30) { reader.gets.chomp }).to eq([*"1".."20", "lost", *"22".."30"])
      end
    end

    # Runs the block while nobody is subscribed.
    def while_away
      eventually { subscribers == 1 }
      while_unsubscribed(redis) do
        eventually { subscribers.zero? }
        yield
      end
      eventually { subscribers == 1 }
    end
  end

  describe "that are missing" do
    let(:proxy) { LossyProxy.new(RedisServer.shared.path) }

    before { redis.config(:resetstat) }

    after { proxy.stop }

    # Subscribes through a proxy, which can break the connection for a while.
    def listen_by_proxy(**words, &block)
      listen(redis_options: { url: proxy.url }, **words, &block)
    end

    # Breaks the subscription after Redis has answered its PING, so that the consumer does not get the answer.
    def break_connection(outage: 0.4)
      proxy.lose_reply_to("PING", matching: /pong/, outage: outage)
      next_of(proxy.lost)
      eventually { subscribers.zero? }
    end

    it "are reported in their place, with a bound that is never too small" do
      kept = got
      sub = listen_by_proxy(on_loss: ->(loss) { kept << loss }) { |event| kept << event.data }
      publish_to("prices", "a", "b")
      break_connection
      publish_to("prices", *1..7)
      eventually { sub.stats[:reconnections] == 1 && subscribers == 1 }
      publish_to("prices", "c")
      before, loss, after = next_ones(4).then { |a, b, loss, c| [[a, b], loss, c] }
      expect([before, after]).to eq([%w[a b], "c"])
      # The first two count as well if they came between the reading of the counters and the answer to a PING.
      expect(loss).to have_attributes(source: "prices", cause: :disconnected, at_most: be_between(7, 9), exact?: false,
                                      node: "127.0.0.1:#{proxy.port}")
      expect(loss.until - loss.since).to be_between(0.2, 10)
      expect(loss.to_s).to match(/\Aat most [789] events of prices are missing after .*: disconnected\z/)
      expect(sub.stats).to include(losses: 1, reconnections: 1, taken: 3)
    end

    it "are none where nothing was published: the reconnection is counted" do
      sub = listen_by_proxy { |event| event }
      publish_to("prices", "a")
      break_connection
      eventually { sub.stats[:reconnections] == 1 && subscribers == 1 }
      expect(sub.stats).to include(losses: 0, taken: 1)
      expect(losses).to be_empty
    end

    it "have no bound where the counters were reset, or where Redis itself publishes" do
      listen_by_proxy { |event| event }
      break_connection
      redis.config(:resetstat)
      expect(next_of(losses)).to have_attributes(cause: :disconnected, at_most: nil)
      consumers.pop.stop
      listen_by_proxy(pattern: "*") { |event| event }
      cut
      expect(next_of(losses)).to have_attributes(source: "*", at_most: nil)
    end

    it "have no bound where the server was started again" do
      server = start_server
      sub = listen(redis_options: { path: server.path }) { |event| event }
      server.kill
      server.start
      expect(next_of(losses)).to have_attributes(cause: :restarted, at_most: nil)
      eventually { sub.running? && server.client.call("PUBSUB", "NUMSUB", "prices").last == 1 }
    end

    it "have no bound for a user who may not read the counters, which is reported" do
      redis.call("ACL", "SETUSER", "deaf", "on", ">secret", "resetchannels", "&prices", "+@all", "-info")
      listen(redis_options: { path: RedisServer.shared.path, username: "deaf", password: "secret" }) { |event| event }
      expect(next_of(errors).message).to match(/losses have no bound, because INFO cannot be read: .*no permissions/)
      cut
      expect(next_of(losses).at_most).to be_nil
    ensure
      redis.call("ACL", "DELUSER", "deaf")
    end

    it "because Redis closed the connection of a slow consumer are reported as such" do
      server = start_server(client_output_buffer_limit: "pubsub 100kb 100kb 1")
      gate = Queue.new
      listen(redis_options: { path: server.path }, prefetch: 1, overflow: :block) { |_event| gate.pop }
      eventually { server.client.publish("prices", "x" * 50_000).zero? }
      gate.close
      expect(next_of(losses)).to have_attributes(cause: :slow_consumer, at_most: be_positive)
    end
  end

  describe "for which there is no room" do
    # Handles the first message while others arrive.
    def overflow(overflow, **words)
      gate = Queue.new
      kept = got
      sub = listen(overflow: overflow, on_loss: ->(loss) { kept << loss }, **words) do |event|
        kept << event.data
        gate.pop
      end
      publish_to("prices", "first")
      expect(next_of(got)).to eq("first")
      publish_to("prices", *1..5)
      eventually { sub.stats[:taken] == 6 }
      gate.close
      sub
    end

    it "are dropped, the oldest first, by number and by size" do
      [{ prefetch: 3 }, { prefetch_bytes: 3 * "channelpricesdata1".size }].each do |room|
        sub = overflow(:drop_oldest, **room)
        loss, *rest = next_ones(4)
        expect(loss).to have_attributes(source: "prices", cause: :slow_consumer, at_most: 2, exact?: true)
        expect(rest).to eq(%w[3 4 5])
        expect(sub.stats).to include(dropped: 2, losses: 1, held: 0)
        consumers.pop.stop
      end
    end

    it "are dropped if they are the newest" do
      sub = overflow(:drop_newest, prefetch: 3)
      *rest, loss = next_ones(4)
      expect([rest, loss.at_most, loss.exact?]).to eq([%w[1 2 3], 2, true])
      expect(sub.stats[:dropped]).to eq(2)
    end

    it "wait in Redis with overflow: :block" do
      gate = Queue.new
      kept = got
      sub = listen(overflow: :block, prefetch: 2) { |event| (kept << event.data) && gate.pop }
      publish_to("prices", *1..6)
      expect(next_of(got)).to eq("1")
      expect(happens?(within: 0.1) { sub.stats[:dropped].positive? }).to be(false)
      gate.close
      expect(next_ones(5)).to eq([*"2".."6"])
      expect(sub.stats).to include(dropped: 0, losses: 0)
    end

    it "are reported even during a pause" do
      kept = got
      sub = listen(prefetch: 2, on_loss: ->(loss) { kept << loss.at_most }) { |event| kept << event.data }
      sub.pause
      publish_to("prices", *1..5)
      eventually { sub.stats[:taken] == 5 }
      expect([sub.paused?, got.size]).to eq([true, 0])
      sub.resume
      expect(next_ones(3)).to eq([3, "4", "5"])
    end

    it "are reported if they are larger than max_event_size" do
      kept = got
      sub = listen(max_event_size: 10, on_loss: ->(loss) { kept << loss }) { |event| kept << event.data }
      publish_to("prices", "a", "x" * 11, "b" * 10)
      a, loss, b = next_ones(3)
      expect([a, b, loss.cause, loss.at_most, loss.exact?]).to eq(["a", "b" * 10, :too_large, 1, true])
      expect(sub.stats[:too_large]).to eq(1)
    end
  end

  describe "whose handler fails" do
    it "are given up on and reported, because nothing keeps them" do
      kept = got
      sub = listen { |event| event.data == "bad" ? raise(IOError, "no") : kept << event.data }
      publish_to("prices", "bad", "good")
      expect([next_of(got), next_of(errors).message, errors.size]).to eq(["good", "no", 0])
      eventually { sub.stats[:done] == 1 }
      expect(sub.stats).to include(failed: 1, done: 1, held: 0)
    end

    it "are tried again if the class declares it, and delay only their channel" do
      kept = got
      listen(channel: %w[a b], retry_on: { IOError => { wait: 1, attempts: 2 } }) do |event|
        kept << [event.data, event.attempt]
        raise IOError, "no" if event.data == "a1"
      end
      %w[a1 a2 b1].each { |name| publish_to(name[0], name) }
      expect(next_ones(2)).to contain_exactly(["a1", 1], ["b1", 1])
      expect(next_ones(2)).to eq([["a1", 2], ["a2", 1]])
      expect(next_of(errors).message).to eq("no")
    end

    it "are handled by another thread if theirs is killed" do
      kept = got
      listen do |event|
        kept << event.data
        Thread.current.kill if event.data == "a"
      end
      publish_to("prices", "a", "b")
      expect(next_ones(2)).to eq(%w[a b])
    end
  end

  describe "a consumer" do
    it "costs an idle connection one PING a second, and Redis an INFO every two" do
      redis.config(:resetstat)
      listen { |event| event }
      looks = 0
      calls = lambda do |name|
        looks += 1
        redis.info("commandstats").dig(name, "calls").to_i
      end
      # One connection to check the server, one that subscribes, one for the counters, and one for the record.
      eventually { calls.call("client|setname") >= 4 }
      redis.config(:resetstat)
      started = now
      looks = 0
      eventually(every: 0.2) { calls.call("ping") >= 3 }
      all = redis.info("commandstats").except("config|resetstat").transform_values { |stats| stats["calls"].to_i }
      expect(all.keys).to match_array(%w[info ping])
      expect(all["ping"]).to be <= (now - started).ceil
      expect(all["info"] - looks).to be_between(1, (all["ping"] / 2.0).ceil + 1)
    end

    it "ends its connections when it stops, and drops what waits" do
      gate = Queue.new
      kept = got
      sub = listen { |event| (kept << event.data) && gate.pop }
      publish_to("prices", 1, 2, 3)
      next_of(got)
      eventually { sub.stats[:taken] == 3 }
      gate << true
      sub.stop
      expect(subscribers).to eq(0)
      expect(sub.stats[:taken]).to eq(sub.stats[:done] + sub.stats[:dropped])
      expect(sub.running?).to be(false)
    end

    it "subscribes again in a forked child" do
      process = ruby(<<~RUBY)
        consumer = Class.new(RedisIPC::Events::Consumer) do
          channel "prices"
          define_method(:call) { |event| puts "\#{Process.pid == $parent ? "parent" : "child"} \#{event.data}" }
        end
        $parent = Process.pid
        consumer.start(redis_options: { path: #{RedisServer.shared.path.inspect} })
        child = fork { sleep }
        at_exit { Process.kill(:KILL, child) if Process.pid == $parent }
        puts "started"
        gets
      RUBY
      expect(process.line).to eq("started")
      eventually { subscribers == 2 }
      publish_to("prices", "a")
      expect([process.line, process.line]).to contain_exactly("parent a", "child a")
      process.end_input
      process.wait
    end

    it "refuses what needs a stream" do
      sub = listen { |event| event }
      { lag: "lag", checkpoint: "checkpoint", dead_letters: "dead_letters" }.each do |method, what|
        expect { sub.public_send(method) }
          .to raise_error(RedisIPC::ConfigurationError, /the consumer of prices has no #{what}: that needs a stream/)
      end
      expect { sub.pause(key: "a") }.to raise_error(RedisIPC::ConfigurationError, /no order by key/)
      expect { RedisIPC::Events.replay(sub.consumer, from: :beginning, group: "g") }
        .to raise_error(RedisIPC::ConfigurationError, "replay needs a stream: channel keeps no events")
    end

    it "goes to the new master after a failover" do
      master = start_server
      replica = start_server(replicaof: ["127.0.0.1", master.port])
      sentinel = RedisSentinel.new(master)
      eventually { sentinel.ready? }
      kept = got
      listen(redis_options: sentinel.redis_options, on_loss: ->(loss) { kept << loss }) { |event| kept << event.data }
      eventually(timeout: 30) { sentinel.fail_over? }
      expect(next_of(got, timeout: 30)).to have_attributes(cause: :failover, at_most: nil,
                                                           node: "127.0.0.1:#{replica.port}")
      replica.client.publish("prices", "after")
      expect(next_of(got)).to eq("after")
    ensure
      sentinel&.stop
    end
  end

  describe "a consumer class is refused" do
    def refused(**options, &block)
      one = Class.new(RedisIPC::Events::Consumer) { define_method(:call) { |event| event } }
      one.class_eval(&block)
      error = nil
      expect { one.start(**options) }.to raise_error(RedisIPC::ConfigurationError) { |raised| error = raised }
      error.message
    end

    it "for declarations that mean nothing" do
      expect(refused { channel }).to include('needs a name: channel "prices"')
      expect(refused { channel "a", "a" }).to include("names a twice")
      expect(refused { channel "a", group: "g" }).to match(/unknown option :group of channel .*: json, type, overflow/)
      expect(refused { channel " " }).to include("the name of a channel cannot be blank")
      expect(refused { pattern 7 }).to include("the name of a pattern must be a String or a Symbol")
      expect(refused { channel "a", json: "data" }).to match(/json: of channel of .* true or false, got "data"/)
      expect(refused { channel "a", overflow: :explode })
        .to include("must be one of :drop_oldest, :drop_newest, :block, got :explode")
      expect(refused { channel("a").order(:key) }).to include("must be one of :channel, :source, :none, got :key")
      expect(refused { channel("a").order(:source, lanes: 3) }).to include("unknown option :lanes of order :source")
      expect(refused { channel("a").stream("b", group: "g") }).to match(/has two sources: channel and stream/)
    end

    it "for options of streams, as streams are for options of channels" do
      expect(refused(lease: 5) do
               channel "a"
             end).to match(/lease: of .* is for streams: of a live source nothing is kept/)
      expect(refused(dead_letters: { keep: 5 }) { channel "a" }).to include("dead_letters: of")
      expect(refused(prefetch_bytes: 5) { stream "a", group: "g" }).to include("is for channels, keys and PostgreSQL")
      expect(refused(live: {}) { stream "a", group: "g" }).to include("live: is no option of start")
      expect(refused { channel("a").exactly_once(Object) }).to match(/exactly_once of .* needs a stream/)
    end
  end
end

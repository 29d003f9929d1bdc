# frozen_string_literal: true

# `:unclaimed` and `:not_sent` promise that a request did not run and never will. An asker that gets one of them asks
# again.
RSpec.describe "the outcome of a request" do
  let(:inbox) { "house:inbox:child" }
  let(:started) { Queue.new }
  let(:gate) { Queue.new }

  after { gate.close }

  # Starts an instance that takes requests and answers them too late.
  def busy(pool_size: 1)
    connect("child", consumer: { pool_size: pool_size }, &held(started, gate))
  end

  # Joins the stream by plain Redis commands.
  def join
    redis.call("XGROUP", "CREATE", inbox, "child", 0, "MKSTREAM")
    redis.call("XGROUP", "CREATE", inbox, "child:since", 0)
  end

  def take
    redis.xreadgroup("child", "plain", inbox, ">", block: 10_000)
  end

  # Returns the outcome of a call during which the block runs.
  def outcome_of(asker, timeout: 0.4)
    future = asker.async_send_to_group(content: 1, to: "child", timeout: timeout)
    yield
    future.value
    raise "the call was answered"
  rescue RedisIPC::TimeoutError => e
    e.outcome
  end

  describe "that ran is :unknown" do
    it "if the consumer that took it was deleted" do
      child = busy
      outcome = outcome_of(connect("parent")) do
        next_of(started)
        redis.call("XGROUP", "DELCONSUMER", inbox, "child", child.instance_id)
      end
      expect(outcome).to eq(:unknown)
    end

    it "if the group was destroyed, and created again by its instances" do
      parent = connect("parent")
      busy(pool_size: 2)
      parent.async_send_to_group(content: 1, to: "child", timeout: 20)
      outcome = outcome_of(parent, timeout: 1) do
        2.times { next_of(started) }
        redis.call("XGROUP", "DESTROY", inbox, "child")
        # This instance creates the group again, and gets no further than the first request.
        busy
        next_of(started)
      end
      expect(outcome).to eq(:unknown)
    end

    it "if the group was destroyed, and there is none now" do
      join
      outcome = outcome_of(connect("parent")) do
        take
        redis.call("XGROUP", "DESTROY", inbox, "child")
      end
      expect(outcome).to eq(:unknown)
    end

    it "if it was acknowledged before it was deleted" do
      join
      outcome = outcome_of(connect("parent")) do
        id = take.dig(inbox, 0, 0)
        redis.xack(inbox, "child", id)
      end
      expect(outcome).to eq(:unknown)
    end

    # This is the state after a failover to a replica that has the request, but not the record that it was taken.
    it "if a connection broke since, even if Redis has no record of a delivery" do
      join
      outcome = outcome_of(connect("parent"), timeout: 1) do
        take
        redis.call("XGROUP", "DELCONSUMER", inbox, "child", "plain")
        redis.call("XGROUP", "SETID", inbox, "child", 0)
        redis.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
      end
      expect(outcome).to eq(:unknown)
    end

    it "if it was sent again, even if nobody took the second copy" do
      proxy = LossyProxy.new(RedisServer.shared.path).tap { |it| servers << it }
      asker = build("parent").connect(redis_options: { url: proxy.url })
      join
      proxy.lose_reply_to("XADD")
      expect { asker.send_to_group(content: 1, to: "child", timeout: 0.6) }
        .to raise_error(RedisIPC::TimeoutError) { |error| expect(error.outcome).to eq(:unknown) }
      expect(asker.stats).to include(resent: 1)
    end
  end

  # Otherwise the request would be sent when Redis is back, with a full ttl, although its asker is gone.
  it "whose deadline passes while Redis is away is :not_sent, and is not sent any more" do
    server = start_server
    asker = build("parent").connect(redis_options: { path: server.path, connect_timeout: 20 },
                                    ledger: { cleanup_interval: 60 })
    server.kill
    eventually { !asker.connected? }
    deadline = now + 0.05
    late, in_time = { "child" => 0.05, "other" => 20 }.map do |group, timeout|
      asker.async_send_to_group(content: 1, to: group, timeout: timeout)
    end
    eventually { now > deadline }
    server.start
    eventually { server.client.exists("house:inbox:other") == 1 }
    expect(server.client.exists(inbox)).to eq(0)
    expect { late.value }.to raise_error(RedisIPC::TimeoutError) { |error| expect(error.outcome).to eq(:not_sent) }
    expect(in_time).not_to be_settled
  end
end

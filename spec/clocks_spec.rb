# frozen_string_literal: true

require_relative "../chaos/chaos"

# Ids of stream entries never go back, idle times are computed with the wall clock, and Redis's wall clock may be set.
RSpec.describe "Redis's clock" do
  let(:inbox) { "house:inbox:child" }
  let(:started) { Queue.new }
  let(:gate) { Queue.new }
  let(:hour) { 3_600_000 }

  after { gate.close }

  # Answers when the gate opens.
  def gated(lease: 0.3, pool_size: 1, **options)
    connect("child", consumer: { lease: lease, pool_size: pool_size }, **options, &held(started, gate))
  end

  def redis_ms(client = redis)
    seconds, micros = client.time
    (seconds * 1000) + (micros / 1000)
  end

  # Sends a request as from an asker that died, so nobody withdraws it.
  def ask(content, ttl:)
    redis.xadd(inbox, { id: "1", instance_id: "x", status: "pending", content: content, source_group: "x",
                        destination_group: "child", reply_to: "house:replies:x:x", ttl: ttl })
  end

  describe "that was an hour ahead at the last request, and was then corrected" do
    before do
      id = redis.xadd(inbox, { a: 1 }, id: "#{redis_ms + hour}-0")
      redis.xdel(inbox, id)
    end

    it "starts no request after its deadline" do
      child = gated
      ask("1", ttl: 20_000)
      expect(next_of(started).age).to be_between(0, 5)
      asked = now
      ask("2", ttl: 400)
      eventually { now > asked + 0.8 }
      ask("3", ttl: 20_000)
      gate << true
      entry = next_of(started)
      expect([entry.content, entry.age]).to match([3, be_between(0, 5)])
      expect(entry.deadline).to be_within(10).of(Time.now + 20)
      expect(child.stats).to include(expired: 1)
    end

    it "gives a request that is handed on no more time than it had" do
      child = gated(pool_size: 1)
      ask("1", ttl: 20_000)
      next_of(started)
      id = ask("2", ttl: 20_000)
      # Delivers the request as if the instance had read it ahead.
      redis.xreadgroup("child", child.instance_id, inbox, ">")
      leaving = Thread.new { child.disconnect }
      copy = eventually { redis.xrange(inbox).find { |other, fields| fields["content"] == "2" && other != id } }
      expect(copy.last["ttl"].to_i).to be_between(1, 20_000)
      gate << true
      leaving.join
    end

    it "tells a handler when its deadline has passed" do
      gated
      ask("1", ttl: 300)
      entry = next_of(started)
      eventually(timeout: 2) { entry.expired? }
    end
  end

  describe "is set," do
    let(:place) { Chaos::ClockedPlace.new }
    let(:client) { place.admin }
    let(:options) { place.redis_options }

    after do
      gate.close
      disconnect_streams
      place.stop
    end

    def looks
      client.info("commandstats").dig("xpending", "calls").to_i
    end

    # A holder renews its lease so often that a single step would only rarely fall between two renewals.
    it "a minute ahead, 8 times, and nobody takes over what living instances run" do
      gated(pool_size: 5, redis_options: options)
      other = build("child", &echo).connect(redis_options: options, consumer: { lease: 0.3 })
      parent = build("parent").connect(redis_options: options)
      futures = Array.new(5) { |index| parent.async_send_to_group(content: index, to: "child", timeout: 30) }
      eventually { started.size + other.stats[:taken] == 5 }
      1.upto(8) do |minutes|
        before = looks
        place.clock.step(minutes * 60)
        eventually { looks >= before + 2 }
      end
      expect(other.stats).to include(redelivered: 0)
      5.times { gate << true }
      expect(futures.map(&:value)).to eq((0...5).to_a)
    end

    it "an hour back, and what an instance that dies then had is taken over" do
      child = build("child", &echo).connect(redis_options: options, consumer: { lease: 0.3 })
      parent = build("parent").connect(redis_options: options)
      expect(parent.send_to_group(content: 0, to: "child").value).to eq(0)
      child.disconnect
      future = parent.async_send_to_group(content: 1, to: "child", timeout: 30)
      client.xgroup(:create, inbox, "child", 0, mkstream: true)
      expect(client.xreadgroup("child", "dead", inbox, ">", block: 5_000)).not_to be_empty
      survivor = build("child", &echo).connect(redis_options: options, consumer: { lease: 0.3 })
      place.clock.step(-3600)
      # The clock is read again when a request looks expired; otherwise every 10 s.
      eventually(every: 0.1) { answered?(parent) && survivor.stats[:redelivered] == 1 }
      expect(future.value).to eq(1)
    end

    def answered?(asker)
      asker.send_to_group(content: 2, to: "child", timeout: 0.3)
    rescue RedisIPC::TimeoutError
      false
    end
  end
end

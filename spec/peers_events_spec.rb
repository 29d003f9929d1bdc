# frozen_string_literal: true

# Python and Node publish and consume events with ordinary Redis clients, together with Ruby. Their programs are those
# of examples/, which were written from docs/events_protocol.md.
RSpec.describe "events in other languages", timeout: 300 do
  include PeerProcesses

  languages = %w[python node]
  text = "Zoë, 東京 und 🎉: \"\\"

  # The packages are installed once, before the time limit of an example begins.
  before(:all) do
    PeerPackages.python
    PeerPackages.node
  end

  # Returns the lines of one demo. Those about its events are separate from the positions of what it publishes.
  def events_of(peer, count)
    Array.new(count) { answer(peer) }.each { |line| expect(line).to include("by", "attempt") }
  end

  languages.each do |language|
    it "#{language} publishes what Ruby handles, and handles what Ruby publishes" do
      got = Queue.new
      consume { |event| got << [event.position, event.type, event.key, event.data] }
      other = peer(language, "events_demo", "orders", "#{language}s")
      [[nil, nil, nil], ["order.paid", "7", { "text" => text, "n" => [1, 2.5, nil] }]].each do |type, key, data|
        other.puts(JSON.generate({ type: type, key: key }.compact.merge(data: data)))
        lines = Array.new(2) { answer(other) }.sort_by(&:size)
        position = lines.first.fetch("position")
        expect(next_of(got)).to eq([position, type, key, data])
        expect(lines.last).to eq("by" => "#{language} #{other.pid}", "data" => data, "type" => type, "key" => key,
                                 "attempt" => 1)
      end
      publish({ order_id: text }, type: "order.created", key: 8, id: "row 8")
      expect(events_of(other, 1).first.values_at("data", "type", "key"))
        .to eq([{ "order_id" => text }, "order.created", "8"])
      redis.xadd("orders", { "room" => "attic" })
      expect(events_of(other, 1).first.values_at("data", "type")).to eq([{ "room" => "attic" }, nil])
      eventually { redis.xpending("orders", "#{language}s")["size"].zero? }
    end

    it "#{language} gives up on an event as Ruby does, and Ruby tries it again" do
      other = peer(language, "events_demo", "orders", "a:b", ATTEMPTS: "2")
      publish({ fail: true }, type: "order.paid")
      expect(events_of(other, 2).map { |event| event["attempt"] }).to eq([1, 2])
      got = Queue.new
      ours = consume(group: "a:b") { |event| got << event.attempt }
      eventually { ours.dead_letters.size == 1 }
      letter = ours.dead_letters.first
      expect(letter).to have_attributes(reason: /Error: no\z/, attempts: 2, type: "order.paid",
                                        data: { "fail" => true })
      eventually { redis.xpending("orders", "a:b")["size"].zero? }
      other.kill(:TERM)
      other.rest
      expect(letter.retry).to be(true)
      expect(next_of(got)).to eq(1)
    end

    it "#{language} picks the partition that Ruby picks" do
      got = Queue.new
      ours = consume(order: [:key, { partitions: 5 }]) { |event| got << [event.key, event.metadata[:partition]] }
      other = peer(language, "events_demo", "orders", "#{language}s")
      keys = ["7", text, "order 8"]
      keys.each { |key| other.puts(JSON.generate(data: 0, key: key, partitions: 5)) }
      expect(Array.new(3) { next_of(got) })
        .to match_array(keys.map { |key| [key, RedisIPC::Events.partition(key, 5)] })
      expect(ours.stats[:misplaced]).to eq(0)
    end

    it "#{language} adds an event once though the reply is lost" do
      proxy = lossy
      other = peer(language, "events_demo", "orders", "#{language}s", REDIS_URL: proxy.url)
      proxy.lose_reply_to("XADD")
      other.puts(JSON.generate(data: 1))
      lines = Array.new(2) { answer(other) }
      expect(lines.filter_map { |line| line["position"] }).to eq(redis.xrange("orders").map(&:first))
    end
  end

  it "what a killed process held is taken over in every direction, as the next try" do
    starts = { "python" => -> { peer("python", "events_demo", "orders", "shared", LEASE: "0.5") },
               "node" => -> { peer("node", "events_demo", "orders", "shared", LEASE: "0.5") } }
    taken = Queue.new
    starts.to_a.permutation(2).each do |(_, first), (second, start)|
      dying = first.call
      publish({ wait: true })
      expect(events_of(dying, 1).first["attempt"]).to eq(1)
      heir = start.call
      dying.kill
      expect(events_of(heir, 1).first).to include("by" => "#{second} #{heir.pid}", "attempt" => 2)
      ours = consume(group: "shared", lease: 0.5) { |event| taken << event.attempt }
      heir.kill
      expect(next_of(taken)).to eq(3)
      ours.stop
    end
  end

  it "what a process hands back when it stops is no try" do
    languages.each do |language|
      redis.flushall
      leaving = peer(language, "events_demo", "orders", "shared")
      5.times { publish({ wait: true }) }
      events_of(leaving, 5)
      publish({ n: 1 })
      leaving.kill(:TERM)
      leaving.rest
      got = Queue.new
      ours = consume(group: "shared") { |event| got << event.attempt }
      expect(Array.new(6) { next_of(got) }).to contain_exactly(1, 2, 2, 2, 2, 2)
      ours.stop
      expect(redis.xinfo(:consumers, "orders", "shared").size).to be <= 1
    end
  end

  # All of them consume in order by key in the same group. Each handler appends what it handles to the list seen:KEY.
  describe "in order" do
    def ordered(language, lease:, **environment)
      peer(language, "events_demo", "orders", "shared", ORDER: "key", LIST: "seen", LEASE: lease.to_s, **environment)
    end

    def publish_rounds(rounds, keys: 20)
      events = rounds.flat_map { |number| (0...keys).map { |key| { data: number, key: key } } }
      RedisIPC::Events.publish_all("orders", events, redis_options: redis_options)
    end

    def seen(keys: 20)
      (0...keys).map { |key| redis.lrange("seen:#{key}", 0, -1).map { |data| JSON.parse(data) } }
    end

    # Returns how many lanes each process owns, sorted.
    def shares
      owners = redis.hgetall("orders:events:shared").select { |field, _| field.start_with?("o:") }.values
      owners.map { |owner| owner[/\S+/] }.tally.values.sort
    end

    it "Ruby, Python and Node share the lanes, and what a killed one owned is taken over" do
      dying = ordered("python", lease: 1)
      eventually { shares == [64] }
      other = ordered("node", lease: 1)
      ordered("ruby", lease: 1)
      eventually(timeout: 20) { shares == [21, 21, 22] }
      publish_rounds(0...15)
      [dying, other].each { |process| expect(answer(process)).to include("attempt" => 1) }
      dying.kill
      publish_rounds(15...30)
      eventually(timeout: 20) { seen.all? { |numbers| numbers.uniq.size == 30 } }
      expect(seen.map(&:uniq)).to all(eq((0...30).to_a))
      eventually { shares == [32, 32] }
      eventually { redis.xinfo(:groups, "orders").map { |group| group["name"] } == ["shared:lanes"] }
    end

    it "each continues where another one stopped" do
      rounds = 0
      %w[python node python ruby node ruby python].each do |language|
        running = ordered(language, lease: 30)
        publish_rounds([rounds], keys: 5)
        rounds += 1
        eventually { seen(keys: 5).all? { |numbers| numbers.size == rounds } }
        running.kill(:TERM)
        running.rest
      end
      expect(seen(keys: 5)).to all(eq((0...rounds).to_a))
    end

    languages.each do |language|
      it "#{language} lets the next event of a key wait for one that fails, until it is given up on" do
        other = ordered(language, lease: 30, ATTEMPTS: "2")
        [[{ fail: true }, 1], [2, 1], [3, 2]].each { |data, key| publish(data, key: key) }
        expect(Array.new(4) { answer(other).values_at("key", "attempt", "data") })
          .to contain_exactly(["1", 1, { "fail" => true }], ["2", 1, 3], ["1", 2, { "fail" => true }], ["1", 1, 2])
        eventually { seen(keys: 3) == [[], [2], [3]] }
        expect(redis.xrange("orders:dead:shared").map { |_, letter| letter["dead_deliveries"] }).to eq(["2"])
      end
    end
  end
end

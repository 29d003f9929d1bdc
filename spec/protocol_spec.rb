# frozen_string_literal: true

# Proves docs/protocol.md: the other side uses plain Redis commands, and only what that page says.
RSpec.describe "the wire protocol" do
  # The peer has a connection of its own, because a blocking read would block everyone who shares it.
  let(:peer) { RedisServer.client(path: RedisServer.shared.path, read_timeout: 20) }
  let(:replies) { open_replies("house:replies:py:7f") }
  let(:inbox) { "house:inbox:child" }

  after { peer.close }

  def run(*command)
    peer.call(*command)
  end

  def redis_ms
    seconds, micros = run("TIME").map(&:to_i)
    (seconds * 1000) + (micros / 1000)
  end

  # Returns the first entry of a stream in a reply to XREAD or XREADGROUP: the id, and a Hash of the fields.
  def first_entry(reply)
    id, fields = reply&.dig(0, 1, 0)
    id && [id, fields.each_slice(2).to_h]
  end

  # The steps of an asker.

  def open_replies(key)
    run("XGROUP", "CREATE", key, "new", "$", "MKSTREAM")
    run("XGROUP", "DESTROY", key, "new")
    run("PEXPIRE", key, 30_000)
    key
  end

  def request(**changes)
    { id: "42", instance_id: "7f", status: "pending", content: "1", source_group: "py", destination_group: "child",
      reply_to: replies, ttl: 20_000 }.merge(changes)
  end

  def ask(fields, key: inbox, id: "*")
    run("XADD", key, "MINID", "~", redis_ms - 3_660_000, id, *fields.flatten).tap do
      %w[NX GT].each { |condition| run("PEXPIRE", key, 3_660_000, condition) }
    end
  end

  def answer_after(id = "0-0", key: replies)
    first_entry(run("XREAD", "COUNT", 1, "BLOCK", 10_000, "STREAMS", key, id)) || raise("no answer came")
  end

  def withdraw(id)
    run("MULTI")
    run("XINFO", "GROUPS", inbox)
    run("XDEL", inbox, id)
    groups, deleted = run("EXEC")
    [groups.to_h { |facts| facts.each_slice(2).to_h.values_at("name", "last-delivered-id") }, deleted]
  end

  # The steps of an answerer.

  def join(group = "child", key: inbox)
    run("XGROUP", "CREATE", key, group, 0, "MKSTREAM")
    run("XGROUP", "CREATE", key, "#{group}:since", 0)
    run("XGROUP", "CREATECONSUMER", key, group, "py-1")
    %w[NX GT].each { |condition| run("PEXPIRE", key, 3_660_000, condition) }
  end

  def take(group = "child", key: inbox, block: ["BLOCK", 10_000])
    first_entry(run("XREADGROUP", "GROUP", group, "py-1", "COUNT", 1, *block, "STREAMS", key, ">"))
  end

  def reply(asked, status: "fulfilled", content: "1", **more)
    fields = { id: asked["id"], instance_id: "py-1", status:, content:,
               source_group: asked["destination_group"], destination_group: asked["source_group"], **more }
    run("XADD", asked["reply_to"], "NOMKSTREAM", "*", *fields.flatten)
  end

  def done_with(id, group = "child", key: inbox)
    [run("XDEL", key, id), run("XACK", key, group, id)]
  end

  def show_presence(member = "child:py-1:host:4711")
    run("ZADD", "house:instances", redis_ms, member)
  end

  # Returns who holds the request, and how often it was delivered.
  def holder(id)
    run("XPENDING", inbox, "child", id, id, 1).first&.values_at(1, 3)
  end

  def dead_letters
    run("XRANGE", "house:dead:child", "-", "+").map { |_id, fields| fields.each_slice(2).to_h }
  end

  describe "a plain asker and an answerer of the gem" do
    it "asks and reads the answer" do
      entries = Queue.new
      child = connect("child") do |entry|
        entries << entry
        fulfill_request(entry, content: { dish: entry.content })
      end
      redis_id = ask(request(content: '["pasta",2]', ttl: 3_000))
      _, answer = answer_after

      expect(answer).to eq("id" => "42", "instance_id" => child.instance_id, "status" => "fulfilled",
                           "content" => '{"dish":["pasta",2]}', "source_group" => "child", "destination_group" => "py")
      expect(next_of(entries)).to have_attributes(
        id: "42", redis_id:, instance_id: "7f", source_group: "py", destination_group: "child",
        content: ["pasta", 2], deadline: Time.at(0, redis_id.to_i + 3_000, :millisecond), redelivered?: false
      )
      eventually { run("XLEN", inbox).zero? && run("XPENDING", inbox, "child").first.zero? }
    end

    it "may ask before anybody answers" do
      ask(request(content: '"early"'))
      connect("child", &echo)
      expect(answer_after.last).to include("status" => "fulfilled", "content" => '"early"')
    end

    it "is told the class and the message where the handler raises" do
      connect("child") { raise IndexError, "no such dish" }
      ask(request)
      expect(answer_after.last).to include("status" => "rejected", "error" => "IndexError",
                                           "content" => '"IndexError: no such dish"')
    end

    it "sends fields the gem does not know" do
      connect("child", &echo)
      ask(request(content: '"x"', trace: "abc", "\xFF\xFE".b => "\x00".b))
      expect(answer_after.last).to include("content" => '"x"')
    end

    it "marks requests that it sends again, which an at-most-once answerer refuses" do
      child = connect("child") { |entry| fulfill_request(entry, content: [entry.deliveries, entry.redelivered?]) }
      ask(request(resent: 1))
      after, answer = answer_after
      expect(answer).to include("content" => "[1,true]")

      child.disconnect
      connect("child", consumer: { delivery: :at_most_once }, &echo)
      ask(request(resent: 1))
      expect(answer_after(after).last).to include("status" => "rejected", "error" => "RedisIPC::MayHaveRunError")
    end

    it "is not waited for once its reply stream is gone" do
      entries = Queue.new
      child = connect("child") { |entry| entries << entry }
      ask(request)
      entry = next_of(entries)
      run("DEL", replies)
      child.fulfill_request(entry, content: 1)
      eventually { child.stats[:answers_dropped] == 1 }
      expect(run("EXISTS", replies)).to eq(0)
    end

    it "never has an expired request run" do
      ran = Queue.new
      expired = redis_ms - 100
      ask(request(content: '"late"', ttl: 50), id: "#{expired}-0")
      child = connect("child", consumer: { pool_size: 1 }) do |entry|
        ran << entry.content
        fulfill_request(entry, content: entry.content)
      end
      ask(request(id: "43", content: '"fresh"'))

      expect(answer_after.last).to include("id" => "43")
      expect(next_of(ran)).to eq("fresh")
      expect(ran).to be_empty
      expect(child.stats).to include(expired: 1)
      eventually { run("XLEN", inbox).zero? }
    end

    it "cannot have the answer written anywhere but into a reply stream of the same stream" do
      places = %w[house:inbox:other other:replies:py:7f house:replies:py house:replies:py:7f:8 house:replies::7f
                  house:replies:py: 0house:replies:py:7f house]
      places.each { |key| open_replies(key) }
      ran = Queue.new
      connect("child") do |entry|
        ran << entry
        fulfill_request(entry, content: 1)
      end
      places.each { |key| ask(request(reply_to: key)) }
      # Requests are taken in order, so once this one is answered, the others are decided.
      eventually { dead_letters.size == places.size }
      ask(request)
      answer_after

      expect(places.to_h { |key| [key, run("XLEN", key)] }.values).to all(be_zero)
      expect(ran.size).to eq(1)
    end
  end

  describe "the limits of a request" do
    it "accepts what is just within them" do
      connect("child") { |entry| fulfill_request(entry, content: nil) }
      more = (1..56).to_h { |index| ["more#{index}", index] }
      long = open_replies("house:replies:#{"ä" * 512}:7f")
      within = [{ id: "i" * 1_024 }, { source_group: "ä" * 512, reply_to: long },
                { content: "#{"[" * 100}#{"]" * 100}" },
                { content: "9" * 4_096 }, { content: '"\ud83d\ude00"' }, more]
      last = Hash.new("0-0")
      within.each do |changes|
        ask(request(**changes.transform_keys(&:to_sym)))
        key = changes.fetch(:reply_to, replies)
        last[key], answer = answer_after(last[key], key: key)
        expect(answer).to include("status" => "fulfilled", "id" => changes.fetch(:id, "42"))
      end
    end

    it "makes a dead letter of what is not, and rejects if possible" do
      connect("child", max_content_size: 10_000) { |entry| fulfill_request(entry, content: nil) }
      more = (1..57).to_h { |index| [:"more#{index}", index] }
      beyond = [{ instance_id: "i" * 1_025 }, { instance_id: "\xFF".b }, { content: "#{"[" * 101}#{"]" * 101}" },
                { content: "9" * 4_097 }, { content: "{" }, { content: "1 2" }, { content: "\"#{"x" * 10_000}\"" },
                { ttl: 0 }, { ttl: "soon" }, { status: "fulfilled" }, { destination_group: "" }, more]
      last = "0-0"
      beyond.each do |changes|
        ask(request(**changes))
        last, answer = answer_after(last)
        expect(answer).to include("id" => "42", "status" => "rejected", "error" => "RedisIPC::MalformedEntryError")
      end
      # A peer does not answer a request without a valid group.
      [{ source_group: "\xFF".b }, { source_group: "rb" }].each { |changes| ask(request(**changes)) }
      eventually { run("XLEN", inbox).zero? }
      expect(dead_letters.map { |letter| letter["reply_to"] }).to eq([replies] * (beyond.size + 2))
      expect(run("XREAD", "STREAMS", replies, last)).to be_nil
    end

    it "keeps a dead letter with its own fields and the reason" do
      connect("child", &echo)
      redis_id = ask(request(ttl: 0, color: "red"))
      answer_after
      expect(dead_letters).to contain_exactly(
        request(ttl: "0", color: "red").transform_keys(&:to_s).merge(
          "dead_id" => redis_id, "dead_reason" => a_string_including("ttl"), "dead_deliveries" => "1",
          "dead_holders" => "[]",
          "dead_at" => satisfy { |ms| (ms.to_i - redis_ms).abs < 10_000 }
        )
      )
    end
  end

  describe "an asker of the gem and a plain answerer" do
    let(:parent) { connect("parent") }

    before { join }

    it "is asked and answers" do
      future = parent.async_send_to_group(content: { a: [1, "ü"] }, to: "child", timeout: 7)
      id, asked = take

      expect(asked).to eq(
        "id" => asked["id"], "instance_id" => parent.instance_id, "status" => "pending", "content" => '{"a":[1,"ü"]}',
        "source_group" => "parent", "destination_group" => "child", "ttl" => asked["ttl"],
        "reply_to" => "house:replies:parent:#{parent.instance_id}"
      )
      expect(asked["id"]).to match(/\A\h{32}\z/)
      expect(asked["ttl"].to_i).to be_between(5_000, 7_000)
      expect(run("PTTL", asked["reply_to"])).to be_between(1, 30_000)
      expect(run("PTTL", inbox)).to be_between(3_600_000, 3_660_000)

      reply(asked, content: '{"b":null}')
      expect(done_with(id)).to eq([1, 1])
      expect(future.response).to have_attributes(status: "fulfilled", value: { b: nil }, error: nil, id: asked["id"],
                                                 instance_id: "py-1", source_group: "child")
      expect(run("XLEN", inbox)).to eq(0)
    end

    it "rejects, with the class of the error" do
      future = parent.async_send_to_group(content: 1, to: "child")
      id, asked = take
      reply(asked, status: "rejected", content: '"no"', error: "ValueError", color: "red")
      done_with(id)
      expect(future.response).to have_attributes(status: "rejected", reason: "no", error: "ValueError")
    end

    it "answers twice: the second answer is dropped and counted" do
      future = parent.async_send_to_group(content: 1, to: "child")
      _, asked = take
      2.times { |count| reply(asked, content: count.to_s) }
      eventually { parent.stats[:answers_unmatched] == 1 }
      expect(future.value).to eq(0)
      expect(parent.stats).to include(fulfilled: 1, requests: 1)
    end

    it "answers what nobody asked: that is dropped and counted" do
      future = parent.async_send_to_group(content: 1, to: "child")
      _, asked = take
      ["f" * 32, "unknown", asked["id"].upcase.tr("0-9", "A")].each { |id| reply({ **asked, "id" => id }) }
      eventually { parent.stats[:answers_unmatched] == 3 }
      expect(future).not_to be_settled
      reply(asked, content: '"right"')
      expect(future.value).to eq("right")
    end

    it "ends the call with an error where the answer is malformed" do
      future = parent.async_send_to_group(content: 1, to: "child")
      reply(take.last, content: "{")
      expect { future.response }.to raise_error(RedisIPC::MalformedEntryError)
      expect(parent.stats).to include(malformed: 1, failed: 1)
    end

    it "finds nothing once the asker has withdrawn the request" do
      error = unclaimed { parent.send_to_group(content: 1, to: "child", timeout: 0.1) }
      expect(error.outcome).to eq(:unclaimed)
      expect(take(block: [])).to be_nil
      expect(run("XLEN", inbox)).to eq(0)
    end

    it "loses the entry, but not its reply stream, when the asker gives up" do
      # The timeout leaves enough time for the request to be taken.
      future = parent.async_send_to_group(content: 1, to: "child", timeout: 2)
      id, asked = take
      expect { future.response }
        .to raise_error(RedisIPC::TimeoutError) { |error| expect(error.outcome).to eq(:unknown) }
      expect(reply(asked)).to match(/\A\d+-\d+\z/)
      expect(done_with(id)).to eq([0, 1])
      eventually { parent.stats[:answers_unmatched] == 1 }
      expect(parent.stats).to include(timed_out: 1, fulfilled: 0)
    end
  end

  describe "two plain peers" do
    it "need nothing but the page" do
      join
      asked_as = ask(request(content: '{"do":"it"}'))
      id, asked = take
      expect([id, asked["content"]]).to eq([asked_as, '{"do":"it"}'])
      expect(id.to_i + asked["ttl"].to_i).to be > redis_ms
      reply(asked, content: '"done"')
      expect(done_with(id)).to eq([1, 1])

      last, answer = answer_after
      expect(answer).to include("id" => "42", "status" => "fulfilled", "content" => '"done"', "instance_id" => "py-1")
      run("XTRIM", replies, "MINID", last.sub(/\d+\z/) { |sequence| sequence.to_i + 1 })
      expect([inbox, replies].map { |key| run("XLEN", key) }).to eq([0, 0])
    end

    it "learn from a withdrawal whether the request was taken" do
      expect(withdraw(ask(request))).to eq([{}, 1])
      join
      expect(withdraw(ask(request))).to eq([{ "child" => "0-0", "child:since" => "0-0" }, 1])
      id = ask(request)
      take
      expect(withdraw(id)).to eq([{ "child" => id, "child:since" => "0-0" }, 1])
      id = ask(request)
      take
      done_with(id)
      expect(withdraw(id)).to eq([{ "child" => id, "child:since" => "0-0" }, 0])
    end

    it "learn from a withdrawal that the group was destroyed since" do
      join
      id = ask(request)
      take
      run("XGROUP", "DESTROY", inbox, "child")
      run("XGROUP", "CREATE", inbox, "child", 0, "MKSTREAM")
      run("XGROUP", "SETID", inbox, "child:since", "$")
      expect(withdraw(id)).to eq([{ "child" => "0-0", "child:since" => id }, 1])
    end

    it "never learn of an answered request that nobody had taken it" do
      join
      id = ask(request)
      take
      run("XDEL", inbox, id)
      expect(withdraw(id)).to eq([{ "child" => id, "child:since" => "0-0" }, 0])
      expect(run("XACK", inbox, "child", id)).to eq(1)
    end

    it "fetch what was lost on a broken connection without counting that as a delivery" do
      join
      id = ask(request)
      take
      expect(run("XPENDING", inbox, "child", "-", "+", 100, "py-1").map { |row| row.values_at(0, 3) }).to eq([[id, 1]])
      fetched = run("XCLAIM", inbox, "child", "py-1", 0, id, "RETRYCOUNT", 1)
      expect(fetched.first.first).to eq(id)
      expect(holder(id)).to eq(["py-1", 1])
      run("XREADGROUP", "GROUP", "child", "py-1", "COUNT", 1, "STREAMS", inbox, "0-0")
      expect(holder(id)).to eq(["py-1", 2])
    end
  end

  describe "leases" do
    it "has the gem take over from a plain peer that died" do
      join
      ask(request)
      take
      connect("child", consumer: { lease: 0.2 }) do |entry|
        fulfill_request(entry, content: [entry.deliveries, entry.redelivered?])
      end
      expect(answer_after.last).to include("content" => "[2,true]")
      eventually { run("XPENDING", inbox, "child").first.zero? && run("XLEN", inbox).zero? }
    end

    it "leaves a request to a plain peer that renews its lease" do
      join
      ask(request(ttl: 20_000))
      id, = take
      ran = Queue.new
      connect("child", consumer: { lease: 1 }) { |entry| ran << entry }
      renewed = now
      held_until = renewed + 2.5
      while now < held_until
        renewed = now
        run("XCLAIM", inbox, "child", "py-1", 0, id, "JUSTID")
        sleep 0.1
      end
      expect(next_of(ran).redis_id).to eq(id)
      expect(now - renewed).to be_between(0.9, 9)
    end

    it "has a plain peer take over from the gem" do
      process = ruby(<<~RUBY)
        stream = RedisIPC::Stream.new("house", "child")
        stream.on_request { |entry| puts entry.redis_id }
        stream.connect
        $stdin.gets
      RUBY
      future = connect("parent").async_send_to_group(content: 1, to: "child", timeout: 20)
      taken = process.line
      process.kill
      process.wait
      expect(holder(taken)).to match([/\A\h{32}\z/, 1])
      # Nobody renews it any more. The lease of this peer is 0.3 s.
      cursor, entries, deleted = eventually do
        reply = run("XAUTOCLAIM", inbox, "child", "py-1", 300, "0-0", "COUNT", 10)
        reply unless reply[1].empty?
      end
      id, fields = entries.first

      expect([cursor, id, deleted]).to eq(["0-0", taken, []])
      expect(holder(id)).to eq(["py-1", 2])
      reply(fields.each_slice(2).to_h, content: '"taken over"')
      done_with(id)
      expect(future.value).to eq("taken over")
    end

    it "does not count the delivery of a request given back unstarted, and keeps the earlier ones" do
      join
      after = "0-0"
      [1, 3].each do |count|
        ask(request)
        id, = take
        run("XCLAIM", inbox, "child", "py-1", 0, id, "RETRYCOUNT", count, "JUSTID")
        run("XCLAIM", inbox, "child", "py-1", 0, id, "IDLE", 604_800_000, "RETRYCOUNT", count - 1, "JUSTID")
        child = connect("child", consumer: { lease: 0.3 }) { |entry| fulfill_request(entry, content: entry.deliveries) }
        after, answer = answer_after(after)
        expect(answer).to include("content" => count.to_s)
        child.disconnect
      end
    end

    it "gives a request up after too many deliveries" do
      join
      id = ask(request)
      take
      run("XCLAIM", inbox, "child", "py-2", 0, id, "RETRYCOUNT", 5, "JUSTID")
      ran = Queue.new
      child = connect("child", consumer: { lease: 0.2 }) { |entry| ran << entry }
      expect(answer_after.last).to include("status" => "rejected", "error" => "RedisIPC::DeadLetteredError")
      expect(dead_letters).to match([a_hash_including("dead_id" => id, "dead_deliveries" => "6", "content" => "1")])
      expect(child.stats).to include(dead_lettered: 1)
      expect(ran).to be_empty
    end
  end

  it "marks a request that it has taken over among the dead letters, until it is answered" do
    join
    gate, started = Array.new(2) { Queue.new }
    redis_id = ask(request(content: "1", dead_suspect: "forged"))
    run("XREADGROUP", "GROUP", "child", "gone", "STREAMS", inbox, ">")
    child = connect("child", consumer: { lease: 0.2 }, &held(started, gate))
    next_of(started)
    letter = dead_letters.first
    holders = JSON.parse(letter["dead_holders"], symbolize_names: true)
    expect(letter).to include("dead_id" => redis_id, "dead_suspect" => "1", "dead_deliveries" => "2", "content" => "1")
    expect(holders).to match([{ instance: "gone", host: nil, pid: nil, delivery: 1 },
                              { instance: child.instance_id, host: String, pid: Process.pid, delivery: 2 }])
    gate << 1
    eventually { dead_letters.empty? && run("XLEN", inbox).zero? }
  end

  describe "names with : and %" do
    it "are percent-encoded in keys and plain in fields" do
      theirs = open_replies("house:replies:p%3Ay:7%25f")
      connect("a:b%c", &echo)
      ask(request(source_group: "p:y", instance_id: "7%f", destination_group: "a:b%c", reply_to: theirs),
          key: "house:inbox:a%3Ab%25c")
      expect(answer_after(key: theirs).last).to include("source_group" => "a:b%c", "destination_group" => "p:y")
    end

    it "work the other way round" do
      join("p:%y", key: "house:inbox:p%3A%25y")
      parent = connect("a:b%c")
      future = parent.async_send_to_group(content: 1, to: "p:%y")
      id, asked = take("p:%y", key: "house:inbox:p%3A%25y")
      expect(asked).to include("source_group" => "a:b%c", "destination_group" => "p:%y",
                               "reply_to" => "house:replies:a%3Ab%25c:#{parent.instance_id}")
      reply(asked, content: '"yes"')
      done_with(id, "p:%y", key: "house:inbox:p%3A%25y")
      expect(future.value).to eq("yes")
    end
  end

  describe "an answerer beside an instance of the gem" do
    before { join }

    it "is left its requests by one that has no handler" do
      asker = connect("child")
      ask(request)
      id, asked = take
      reply(asked, content: '"mine"')
      done_with(id)
      expect(answer_after.last).to include("content" => '"mine"')
      expect(asker.stats).to include(taken: 0)
    end

    it "keeps its consumer while it shows its presence; one that does not loses it, if nothing is pending under it" do
      names = -> { run("XINFO", "CONSUMERS", inbox, "child").map { |row| row.each_slice(2).to_h["name"] } }
      id = ask(request(ttl: 60_000))
      take
      %w[py-2 py-3].each { |name| run("XGROUP", "CREATECONSUMER", inbox, "child", name) }
      run("XCLAIM", inbox, "child", "py-3", 0, id, "JUSTID")
      connect("child", consumer: { lease: 0.1, pool_size: 1 }) { sleep }
      left = eventually(every: 0.1) do
        show_presence
        # Renews it, so that nobody takes it over from py-3.
        run("XCLAIM", inbox, "child", "py-3", 0, id, "JUSTID")
        names.call.then { |all| all unless all.include?("py-2") }
      end
      expect(left).to include("py-1", "py-3")
    end
  end

  describe "presence" do
    it "is a sorted set that both sides read and write" do
      parent = connect("a:b")
      seen = redis_ms
      show_presence("p%3Ay:7%25f:host%3A1:4711")
      run("ZADD", "house:instances", seen - 61_000, "dead:7e:host:1")

      expect(run("ZRANGE", "house:instances", seen - 60_000, "+inf", "BYSCORE")).to contain_exactly(
        "p%3Ay:7%25f:host%3A1:4711", a_string_matching(/\Aa%3Ab:#{parent.instance_id}:[^:]+:#{Process.pid}\z/)
      )
      expect(parent.instances.map { |row| row.slice(:group, :instance_id, :host, :pid) }).to contain_exactly(
        { group: "p:y", instance_id: "7%f", host: "host:1", pid: 4711 },
        a_hash_including(group: "a:b", instance_id: parent.instance_id, pid: Process.pid)
      )
    end

    it "ends with the connection, which leaves no key behind" do
      child = connect("child", &echo)
      parent = connect("parent")
      parent.send_to_group(content: 1, to: "child")
      expect(run("KEYS", "*")).to include(inbox, "house:instances")
      [parent, child].each(&:disconnect)
      expect(run("KEYS", "*")).to eq([])
    end
  end
end

# frozen_string_literal: true

RSpec.describe "dead letters" do
  let(:options) { { consumer: { lease: 0.2, max_deliveries: 2 } } }

  # Writes a request that dead instances took once more than is allowed.
  def poison(content, group: "child")
    redis.xgroup(:create, "house:inbox:#{group}", group, "0", mkstream: true)
  rescue Redis::CommandError => e
    raise unless e.message.start_with?("BUSYGROUP")
  ensure
    id = redis.xadd("house:inbox:#{group}", request_fields(content, group))
    redis.call("XREADGROUP", "GROUP", group, "gone", "COUNT", 1, "STREAMS", "house:inbox:#{group}", ">")
    redis.call("XCLAIM", "house:inbox:#{group}", group, "gone", 0, id, "RETRYCOUNT", 2, "JUSTID")
  end

  def request_fields(content, group)
    { id: format("%032x", rand(1 << 128)), instance_id: "i", status: "pending", content: content.to_json,
      source_group: "parent", destination_group: group, reply_to: "house:replies:parent:i", ttl: 60_000 }
  end

  it "are listed with all that is known of them" do
    poison({ dish: "pasta" })
    child = connect("child", **options, &echo)
    letter = eventually { child.dead_letters.first }
    expect(letter).to be_frozen
    expect(letter).to have_attributes(
      group: "child", source_group: "parent", instance_id: "i", content: { dish: "pasta" }, deliveries: 3,
      raw_content: '{"dish":"pasta"}', request_id: a_string_matching(/\A\h{32}\z/),
      reason: a_string_including("delivered 2 times without an answer"),
      died_at: be_within(10).of(Time.now), id: a_string_matching(/\A\d+-\d+\z/)
    )
    expect(letter.inspect).to include("child", letter.id)
    expect(child.dead_letters.inspect).to include("child")
  end

  it "are told apart by group, and any group's can be seen" do
    poison(1)
    child = connect("child", **options, &echo)
    eventually { child.dead_letters.size == 1 }
    observer = connect("observer")
    expect(observer.dead_letters).to be_empty
    expect(observer.dead_letters(group: :child).map(&:content)).to eq([1])
    expect { observer.dead_letters(group: " ") }.to raise_error(ArgumentError, /blank/)
  end

  it "are fetched a page at a time" do
    250.times { |index| redis.xadd("house:dead:child", { content: index, dead_reason: "why" }) }
    letters = connect("child").dead_letters
    expect(letters.size).to eq(250)
    expect(letters.each.size).to eq(250)
    expect(letters.map(&:content)).to eq((0...250).to_a)
    pages = -> { redis.info("commandstats").dig("xrange", "calls").to_i }
    before = pages.call
    expect(letters.first(3).map(&:content)).to eq([0, 1, 2])
    expect(pages.call - before).to eq(1)
  end

  it "can be tried again, once, with the same id" do
    poison("again")
    runs = Queue.new
    child = connect("child", **options) { |entry| (runs << entry) && fulfill_request(entry, content: 1) }
    letter = eventually { child.dead_letters.first }
    expect(runs).to be_empty
    expect(Array.new(4) { Thread.new { letter.retry(timeout: 30) } }.map(&:value).count(true)).to eq(1)
    expect(next_of(runs)).to have_attributes(id: letter.request_id, content: "again", redelivered?: true, deliveries: 1)
    expect(child.dead_letters).to be_empty
    eventually { redis.xlen("house:inbox:child").zero? }
    expect([letter.retry, letter.discard]).to eq([false, false])
    eventually { child.stats[:answers_dropped].positive? }
  end

  it "may be tried again for as long as a request may live, and no longer" do
    redis.xadd("house:dead:child", request_fields(1, "child"))
    stream = connect("other", ledger: { max_timeout: 100 })
    letter = stream.dead_letters(group: "child").first
    [0, -1, 100.1, "1", Float::NAN].each do |bad|
      expect { letter.retry(timeout: bad) }.to raise_error(ArgumentError, /timeout/)
    end
    expect(letter.retry).to be(true)
    expect(redis.xrange("house:inbox:child").first.last).to include("ttl" => "100000", "retried" => "1")
  end

  it "can be discarded" do
    3.times { |index| redis.xadd("house:dead:child", { content: index }) }
    letters = connect("child").dead_letters
    letters.lazy.select { |letter| letter.content == 1 }.each(&:discard)
    expect(letters.map(&:content)).to eq([0, 2])
  end

  it "that never were requests are shown as far as possible, and can only be discarded" do
    redis.xadd("house:inbox:child", { color: "blue", content: "{", id: "\xFF" })
    child = connect("child", **options, &echo)
    letter = eventually { child.dead_letters.first }
    expect(letter).to have_attributes(content: nil, raw_content: "{", source_group: nil, reason: /not a request/)
    expect { letter.retry }.to raise_error(RedisIPC::MalformedEntryError, /only be discarded/) { |error|
      expect(error).to have_attributes(stream: "house", group: "child", entry_id: letter.id)
    }
    expect(letter.discard).to be(true)
    expect(child.dead_letters).to be_empty
  end

  describe "of other programs' entries" do
    # Adds entries that are no requests. Each takes `size` bytes.
    def add_junk(count, size)
      script = <<~LUA
        for i = 1, ARGV[1] do redis.call('XADD', KEYS[1], '*', 'number', i, 'junk', string.rep('x', ARGV[2])) end
      LUA
      redis.eval(script, keys: ["house:inbox:child"], argv: [count, size])
    end

    def memory
      redis.call("MEMORY", "USAGE", "house:dead:child", "SAMPLES", "0")
    end

    it "take no more memory than dead_letters: {max_size:}: the oldest are deleted" do
      add_junk(60, 50_000)
      child = connect("child", dead_letters: { max_size: 500_000 }, &echo)
      eventually { child.stats[:dead_lettered] == 60 }
      expect(memory).to be_between(250_000, 500_000)
      kept = redis.xrange("house:dead:child").map { |_, fields| fields["number"].to_i }
      expect(kept).to eq(((61 - kept.size)..60).to_a)
      add_junk(300, 10)
      eventually { child.stats[:dead_lettered] == 360 }
      expect(redis.xrevrange("house:dead:child", count: 1).first.last).to include("number" => "300")
      expect(memory).to be <= 500_000
    end

    it "are measured now and then: that takes Redis longer the more of them there are" do
      redis.config(:resetstat)
      add_junk(200, 10)
      child = connect("child", &echo)
      eventually { child.stats[:dead_lettered] == 200 }
      expect(redis.info("commandstats").dig("memory|usage", "calls").to_i).to eq(1)
    end

    it "leave the newest, however large it is" do
      child = connect("child", dead_letters: { max_size: 1 }, &echo)
      add_junk(2, 5_000)
      eventually { child.stats[:dead_lettered] == 2 }
      expect(child.dead_letters.size).to eq(1)
    end

    it "are kept cut to max_content_size as a whole, and a little more" do
      child = connect("child", max_content_size: 10, &echo)
      fields = Array.new(40) { |index| ["f#{index}", "x" * 4_000] }.to_h
      redis.xadd("house:inbox:child", fields)
      eventually { child.stats[:dead_lettered] == 1 }
      expect(redis.xrange("house:dead:child").first.last.sum { |pair| pair.sum(&:size) }).to be < 80_000
    end

    it "expire after dead_letters: {keep:}" do
      child = connect("child", dead_letters: { keep: 0.3 }, &echo)
      add_junk(3, 5_000)
      eventually { child.stats[:dead_lettered] == 3 }
      eventually { !redis.exists?("house:dead:child") }
    end

    it "go one by one as they get too old" do
      old = redis.xadd("house:dead:child", { "a" => "x" * 5_000 }, id: "#{((Time.now.to_f - 7200) * 1000).to_i}-0")
      redis.xadd("house:dead:child", { "a" => "x" * 5_000 })
      child = connect("child", dead_letters: { keep: 3600 }, &echo)
      add_junk(1, 10)
      eventually { child.stats[:dead_lettered] == 1 }
      expect(redis.xlen("house:dead:child")).to eq(2)
      expect(redis.xrange("house:dead:child").map(&:first)).not_to include(old)
      expect(redis.ttl("house:dead:child")).to be_between(3500, 3600)
    end

    it "cannot forge the reason" do
      connect("child", &echo)
      redis.xadd("house:inbox:child", { "dead_reason" => "none", "dead_deliveries" => "99" })
      letter = eventually { streams.first.dead_letters.first }
      expect(letter).to have_attributes(reason: /not a request/, deliveries: 1)
    end

    it "have checked options" do
      expect { connect("child", dead_letters: { keep: 0 }) }
        .to raise_error(RedisIPC::ConfigurationError, /dead_letters.keep/)
      expect { connect("child", dead_letters: { most: 1 }) }
        .to raise_error(RedisIPC::ConfigurationError, /dead_letters.most; known here: keep, max_size/)
    end
  end

  it "need a connection" do
    stream = build("child")
    expect { stream.dead_letters }.to raise_error(RedisIPC::NotConnectedError)
    stream.connect(redis_options: redis_options)
    letters = stream.dead_letters
    stream.disconnect
    expect { letters.first }.to raise_error(RedisIPC::ConnectionError)
  end
end

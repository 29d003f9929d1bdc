# frozen_string_literal: true

RSpec.describe "dead letters" do
  let(:options) { { consumer: { lease: 0.2, max_deliveries: 2 } } }

  # A request that was taken by an instance which is gone, once more than is allowed.
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

  it "that never were requests are shown as far as they can be, and only discarded" do
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

  it "need a connection" do
    stream = build("child")
    expect { stream.dead_letters }.to raise_error(RedisIPC::NotConnectedError)
    stream.connect(redis_options: redis_options)
    letters = stream.dead_letters
    stream.disconnect
    expect { letters.first }.to raise_error(RedisIPC::ConnectionError)
  end
end

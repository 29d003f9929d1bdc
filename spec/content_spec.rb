# frozen_string_literal: true

require "bigdecimal"
require "date"
require "delegate"
require "ostruct"
require "pathname"
require "set"
require "uri"

RSpec.describe "content" do
  let(:parent) { connect("parent") }

  before { connect("child", &echo) }

  def round_trip(content)
    parent.send_to_group(content: content, to: "child").value
  end

  it "comes through unchanged, whatever JSON can hold" do
    [
      nil, true, false, 0, -1, 2**62, 2**64, -(2**100), 1.5, -0.0, 1e308, 5e-324, 0.1 + 0.2, "", "ü€😀\u0000\n\"\\",
      [], {}, [[[]]], { a: { b: [1, { c: nil }] } }, "x" * 1_000_000
    ].each { |content| expect(round_trip(content)).to eql(content) }
  end

  it "has Symbols for Hash keys and Strings for Symbols" do
    expect(round_trip({ "a" => :b, 1 => 2, nil => 3 })).to eq(a: "b", "1": 2, "": 3)
  end

  it "converts Strings of other encodings" do
    expect(round_trip("Grüße".encode("ISO-8859-1"))).to eq("Grüße")
    expect(round_trip("Grüße".encode("UTF-16LE"))).to eq("Grüße")
    expect(round_trip("plain".b)).to eq("plain")
  end

  it "honours as_json before to_json" do
    both = Class.new do
      def as_json(*) = { kind: "as_json", at: [Time.at(0).utc] }
      def to_json(*) = '"to_json"'
    end
    only_text = Class.new { def to_json(*) = '{"raw": [1, 2]}' }
    expect(round_trip([both.new])).to eq([{ kind: "as_json", at: ["1970-01-01 00:00:00 UTC"] }])
    expect(round_trip(only_text.new)).to eq(raw: [1, 2])
  end

  it "takes what the standard library writes as JSON" do
    expect(round_trip(BigDecimal("1.5"))).to eq("0.15e1")
    expect(round_trip(Rational(1, 3))).to eq("1/3")
    expect(round_trip(Time.at(0).utc)).to eq("1970-01-01 00:00:00 UTC")
    expect(round_trip([Date.new(2026, 1, 2), Pathname("/tmp"), URI("http://x/y"), Complex(1, 2)]))
      .to eq(["2026-01-02", "/tmp", "http://x/y", "1+2i"])
  end

  it "uses to_hash, to_ary and the object of a delegator" do
    hash = Class.new { def to_hash = { a: 1 } }
    array = Class.new { def to_ary = [1, 2] }
    mixed_in = Class.new { include(Module.new { def as_json(*) = "mine" }) }
    single = Object.new.tap { |one| one.define_singleton_method(:to_json) { |*| "[1]" } }
    expect(round_trip([hash.new, array.new, mixed_in.new, single, SimpleDelegator.new({ "b" => 2 })]))
      .to eq([{ a: 1 }, [1, 2], "mine", [1], { b: 2 }])
  end

  it "keeps keys of any kind that differ in JSON" do
    expect(round_trip({ "a" => 1, b: 2, 3 => 4, nil => 5, 1.5 => 6, "ü".encode("ISO-8859-1") => 7 }))
      .to eq(a: 1, b: 2, "3": 4, "": 5, "1.5": 6, ü: 7)
    expect(round_trip({ 1 => 2, 2 => 3 })).to eq("1": 2, "2": 3)
    expect(round_trip({}.compare_by_identity.merge!("a" => 1))).to eq(a: 1)
    expect(round_trip({ "ü".encode("ISO-8859-1").to_sym => :ü })).to eq(ü: "ü")
    nested = { a: { "b" => 1, c: { "b" => 2, d: 3 } }, "b" => { a: 4 }, c: [{ "a" => 5, b: 6 }] }
    expect(round_trip(nested)).to eq(a: { b: 1, c: { b: 2, d: 3 } }, b: { a: 4 }, c: [{ a: 5, b: 6 }])
    many = Array.new(300) { |index| [index.even? ? "key#{index}" : :"key#{index}", index] }.to_h
    expect(round_trip(many)).to eq(many.transform_keys(&:to_sym))
  end

  it "keeps a NUL in a Symbol, and what comes after it" do
    texts = ["a\0b", "a\0c", "\0", "ü\0ü"]
    expect(round_trip(texts.map(&:to_sym))).to eq(texts)
    expect(round_trip(texts.to_h { |text| [text.to_sym, 1] })).to eq(texts.to_h { |text| [text.to_sym, 1] })
  end

  it "does not use an object's own ==" do
    liar = Class.new do
      def ==(_other) = true
      def as_json(*) = "mine"
    end
    expect(round_trip([liar.new])).to eq(["mine"])
  end

  it "holds a million values" do
    numbers = Array.new(999_999, 0)
    expect(round_trip(numbers)).to eq(numbers)
  end

  it "does not keep the Symbols that keys became" do
    # Askers choose the keys. Symbols that stay would fill the memory of the process.
    before = Symbol.all_symbols.size
    8.times do |round|
      expect(round_trip(Array.new(25_000) { |index| ["key #{round} #{index}", 0] }.to_h).size).to eq(25_000)
    end
    # The last of them may still be on a stack.
    eventually do
      GC.start
      Symbol.all_symbols.size - before < 100_000
    end
  end

  it "nests to a depth of 100" do
    nested = 99.times.reduce([]) { |inner, _| [inner] }
    expect(round_trip(nested)).to eq(nested)
  end

  describe "what JSON cannot hold" do
    twice = {}.compare_by_identity
    2.times { twice[+"a"] = 1 }
    among_many = Array.new(40) { |index| ["key#{index}", index] }.to_h.compare_by_identity
    among_many[+"key7"] = 1
    big = {}.compare_by_identity
    2.times { |index| big[Integer("1#{"0" * 30}")] = index }
    aloof = Class.new(String) { def eql?(_other) = false }
    cyclic = []
    cyclic << cyclic
    {
      "NaN" => [Float::NAN, /NaN/],
      "Infinity" => [{ a: [-Float::INFINITY] }, /Infinity/],
      "a binary String" => ["\xFF\xFE".b, /binary/],
      "binary bytes that happen to be UTF-8" => ["ü".b, /binary/],
      "a broken String" => ["\xFF", /broken/],
      "a broken key" => [{ "\xFF" => 1 }, /broken/],
      "a cycle" => [cyclic, /contains itself/],
      "nesting over 100" => [101.times.reduce([]) { |inner, _| [inner] }, /deeper than 100/],
      "an object that says nothing" => [[Object.new], /a Object, which has neither/],
      "a Set" => [Set[1], /a Set, which has neither as_json nor to_json of its own/],
      "an OpenStruct with its secrets" => [{ a: OpenStruct.new(password: "hunter2") }, # rubocop:disable Style/OpenStructUse
                                           /a OpenStruct, which has neither/],
      "a Struct" => [Struct.new(:a).new(1), /which has neither/],
      "a Proc" => [-> {}, /a Proc, which has neither/],
      "a Thread" => [Thread.current, /a Thread, which has neither/],
      "a Method" => [1.method(:+), /a Method, which has neither/],
      "a class" => [String, /a Class, which has neither/],
      "a file" => [$stdin, /a IO, which has neither/],
      "an exception" => [RuntimeError.new("hunter2"), /a RuntimeError, which has neither/],
      "a delegator to what says nothing" => [SimpleDelegator.new(Set[1]), /a Set, which has neither/],
      "a BasicObject" => [BasicObject.new, /a BasicObject, which has neither/],
      "a String and a Symbol for a key" => [{ "a" => 1, a: 2 }, /two keys that are "a" in JSON/],
      "such keys deep inside" => [[{ b: { "a" => 1, :b => 3, a: 2 } }], /two keys that are "a" in JSON/],
      "a number and its text for a key" => [{ 1 => 1, "1" => 2 }, /two keys that are "1" in JSON/],
      "nil and an empty key" => [{ nil => 1, "" => 2 }, /two keys that are "" in JSON/],
      "a key in two encodings" => [{ "ü" => 1, "ü".encode("ISO-8859-1") => 2 }, /two keys that are "ü" in JSON/],
      "such keys among many" => [Array.new(300) { |index| ["key#{index}", index] }.to_h.merge(key7: 1),
                                 /two keys that are "key7" in JSON/],
      "long keys that differ at their start" => [{ "a#{"x" * 500}" => 1, "b#{"x" * 500}": 2, "a#{"x" * 500}": 3 },
                                                 /two keys that are "ax/],
      "a Symbol in two encodings" => [{ "ü": 1, "ü".encode("ISO-8859-1").to_sym => 2 },
                                      /two keys that are "ü" in JSON/],
      "a key twice by identity" => [twice, /two keys that are "a" in JSON/],
      "a key twice by identity among many" => [among_many, /two keys that are "key7" in JSON/],
      "a big number twice by identity" => [big, /two keys that are "10{30}" in JSON/],
      "a key twice of a class that says they differ" => [{ "a" => 1, aloof.new("a") => 2 },
                                                         /two keys that are "a" in JSON/],
      "a number and its Symbol for a key" => [{ 1 => 1, "1": 2 }, /two keys that are "1" in JSON/],
      "a binary Symbol" => ["\xFF\xFE".b.to_sym, /binary/],
      "a binary Symbol that happens to be UTF-8" => ["ü".b.to_sym, /binary/],
      "a binary Symbol for a key" => [{ "\xFF".b.to_sym => 1 }, /binary/],
      "a number of too many digits" => [10**5000, /4096 digits/],
      "a number that takes minutes to write" => [1 << 100_000_000, /4096 digits/],
      "a million values and one" => [Array.new(1_000_000, 0), /more than 1000000 values/],
      "as many members" => [{ a: [0] * 999_998, b: [{}] }, /more than 1000000 values/],
      "raw JSON nested over 100" => [99.times.reduce(Class.new { def to_json(*) = "[[]]" }.new) { |inner, _| [inner] },
                                     /deeper than 100/],
      "raw JSON of too many values" => [[Class.new { def to_json(*) = "[#{Array.new(999_999, 0).join(",")}]" }.new],
                                        /more than 1000000 values/],
      "a to_json that returns no JSON" => [Class.new { def to_json(*) = "oops" }.new, /returned no JSON/],
      "too much" => ["x" * ((16 * 1024 * 1024) - 1), /limit is 16777216/]
    }.each do |what, (content, message)|
      it "raises ContentError for #{what}, and nothing is sent" do
        expect { parent.send_to_group(content: content, to: "child") }
          .to raise_error(RedisIPC::ContentError, message)
        expect { parent.async_send_to_group(content: content, to: "child") }
          .to raise_error(RedisIPC::ContentError, message)
        expect(parent.stats).to include(requests: 0, open_calls: 0)
      end
    end

    it "passes on what as_json raises" do
      broken = Class.new { def as_json(*) = raise("not today") }
      expect { parent.send_to_group(content: broken.new, to: "child") }.to raise_error(RuntimeError, "not today")
    end
  end

  # ActiveSupport's as_json shows all instance variables of any object.
  it "is as strict with ActiveSupport, and uses the as_json that it defines for a class" do
    process = ruby(<<~RUBY)
      require "active_support/all"
      require "set"
      require "ostruct"
      plain = Class.new { def initialize = @password = "hunter2" }
      native = RedisIPC.const_get(:Native)
      told = [plain.new, OpenStruct.new(password: "hunter2"), -> {}, Thread.current, 1.method(:+), $stdin,
              RuntimeError.new("hunter2")].map do |object|
        native.dump(object)
      rescue RedisIPC::ContentError
        "refused"
      end
      puts told.uniq.inspect
      puts native.dump([Set[1, 2], Struct.new(:a).new(1), Time.utc(2026), 2.seconds, BigDecimal("1.5"), { a: 1 }.with_indifferent_access])
    RUBY
    expect(process.line).to eq('["refused"]')
    expect(process.line).to eq('[[1,2],{"a":1},"2026-01-01T00:00:00.000Z",2,"1.5",{"a":1}]')
  end

  it "is capped where the user says" do
    small = connect("small", max_content_size: 10)
    expect(small.send_to_group(content: "12345678", to: "child").value).to eq("12345678")
    expect { small.send_to_group(content: "123456789", to: "child") }
      .to raise_error(RedisIPC::ContentError, /11 bytes of JSON, the limit is 10/)
  end

  it "can still be answered after a refused answer" do
    connect("picky") do |entry|
      fulfill_request(entry, content: Float::NAN)
    rescue RedisIPC::ContentError
      fulfill_request(entry, content: "better")
    end
    expect(parent.send_to_group(content: 1, to: "picky").value).to eq("better")
  end

  describe "of very many values" do
    # Ruby switches threads after 100 ms, if code lets it. Reading and writing this takes several times as long.
    let!(:many) { Array.new(330_000) { |index| { "key#{index}": "v\n" * 60 } } }
    # The module that reads and writes all content.
    let(:native) { RedisIPC.const_get(:Native) }

    # Returns how often another thread ran while the block was running, not counting its beginning and its end.
    def turns_of_others
      turns = []
      other = Thread.new { loop { (turns << now) && sleep(0.001) } }
      eventually { turns.size > 3 }
      began = now
      yield
      ended = now
      turns.count { |turn| turn.between?(began + ((ended - began) * 0.2), ended - ((ended - began) * 0.2)) }
    ensure
      other.kill
    end

    it "is read while other threads run" do
      text = native.dump(many)
      expect(turns_of_others { native.load(text) }).to be_positive
    end

    it "is written while other threads run" do
      expect(turns_of_others { native.dump(many) }).to be_positive
    end

    it "is abandoned in the middle if its thread is killed" do
      text = "{#{Array.new(200_000) { |index| "\"k#{index}\":0" }.join(",")}}"
      begun = Queue.new
      read = nil
      # Ruby itself checks for interrupts only after the assignment.
      reading = Thread.new do
        begun << true
        read = native.load(text)
      end
      next_of(begun)
      reading.kill.join
      expect(read).to be_nil
    end

    it "is the same afterwards" do
      expect(round_trip(many.first(5_000))).to eq(many.first(5_000))
    end
  end
end

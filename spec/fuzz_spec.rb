# frozen_string_literal: true

require "json"

# Does the same as ext/redis_ipc_core/tests/fuzz.rs, for the part that makes Ruby objects. FUZZ_SECONDS makes it longer,
# FUZZ_SEED repeats a run.
RSpec.describe "mutated JSON", timeout: ENV.fetch("FUZZ_SECONDS", "1").to_f + 60 do
  texts = ['{"event":"cook","params":{"dish":"pasta","n":[1,-2.5e3,true,null]}}',
           '["\ud83d\ude00 \u0000\n",{"":{}},[[]],0]',
           "-12345678901234567890.25E-7", '{"a":1,"a":{"b":"ü"}}']
  words = ["[", "]", "{", "}", ",", ":", '"', "\\", "\\u", "\\ud800", "null", "-", "1e400", ".5", "NaN", "\xFF", '"a":',
           "9" * 30, "[" * 60, "//", "\u2028"]

  def mutate(text, words, random)
    text = text.b
    random.rand(1..6).times do
      at = random.rand(0..text.size)
      case random.rand(4)
      when 0 then text[at, random.rand(0..10)] = ""
      when 1 then text.insert(at, text[at, 20].to_s * random.rand(1..4))
      when 2 then text[at, 1] = random.bytes(1)
      else text.insert(at, words.sample(random: random).b)
      end
    end
    text.force_encoding(Encoding::UTF_8)
  end

  # Parses with the standard library, which accepts comments and is less strict than RFC 8259 in some other ways.
  def theirs(text)
    JSON.parse(text, symbolize_names: true, max_nesting: 100)
  rescue JSON::ParserError, EncodingError, ArgumentError
    :refused
  end

  it "becomes its value, or a ContentError" do
    native = RedisIPC.const_get(:Native)
    seed = ENV.fetch("FUZZ_SEED") { Random.new_seed }.to_i
    random = Random.new(seed)
    until_then = now + ENV.fetch("FUZZ_SECONDS", "1").to_f
    runs = read = 0
    while now < until_then
      text = mutate(texts.sample(random: random), words, random)
      runs += 1
      begin
        # The core refuses Strings that are not UTF-8, so they do not come this far.
        value = text.valid_encoding? ? native.load(text) : next
      rescue RedisIPC::ContentError
        next
      end
      read += 1
      expected = theirs(text)
      expect(value).to eq(expected), "FUZZ_SEED=#{seed} #{text.inspect}" unless expected == :refused
      # A number beyond the range of a double reads as Infinity, which cannot be sent.
      expect(native.load(native.dump(value))).to eq(value) unless value.inspect.include?("Infinity")
    end
    puts "mutated JSON: #{runs} runs, #{read} read, FUZZ_SEED=#{seed}" if ENV["FUZZ_SECONDS"]
    expect(read).to be > 10
  end
end

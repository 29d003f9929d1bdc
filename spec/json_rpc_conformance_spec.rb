# frozen_string_literal: true

# Sends raw text over a real Redis, as any program may, and compares answers as JSON.
RSpec.describe "JSON-RPC 2.0 conformance" do
  reply_to = JSONRPCEnds::REPLY_TO

  before do
    @notified = Queue.new
    notified = @notified
    rpc_server(max_batch: 50) do |server|
      server.on("subtract") { |minuend, subtrahend| minuend - subtrahend }
      server.on("sum") { |*numbers| numbers.sum }
      server.on("get_data") { ["hello", 5] }
      server.on("echo") { |value = nil| value }
      server.on("boom") { raise "the password is hunter2" }
      %w[update foobar notify_hello notify_sum].each { |name| server.on(name) { |*all| notified << [name, all] } }
    end
  end

  # Sends a text with the list for its answer in front of it, because not every text can name one itself.
  def answer_to(text)
    push("#{JSONRPCEnds::REPLY_TO}!#{text}")
    pop
  end

  def result(value, id)
    { "jsonrpc" => "2.0", "result" => value, "id" => id }
  end

  def error(code, message, id, data: nil)
    { "jsonrpc" => "2.0", "error" => { "code" => code, "message" => message, "data" => data }.compact, "id" => id }
  end

  # Sends a request and checks that its answer is the first one. So nothing before it was answered.
  def expect_nothing_before_the_next_answer
    push(%({"jsonrpc": "2.0", "method": "get_data", "id": "last", "reply_to": "#{JSONRPCEnds::REPLY_TO}"}))
    expect(JSON.parse(pop)).to eq(result(["hello", 5], "last"))
  end

  # Section 7, "Examples": what is sent, and what comes back.
  section_seven = [
    ["rpc call with positional parameters",
     '{"jsonrpc": "2.0", "method": "subtract", "params": [42, 23], "id": 1}',
     '{"jsonrpc": "2.0", "result": 19, "id": 1}'],
    ["rpc call with positional parameters",
     '{"jsonrpc": "2.0", "method": "subtract", "params": [23, 42], "id": 2}',
     '{"jsonrpc": "2.0", "result": -19, "id": 2}'],
    ["rpc call with named parameters",
     '{"jsonrpc": "2.0", "method": "subtract", "params": {"subtrahend": 23, "minuend": 42}, "id": 3}',
     '{"jsonrpc": "2.0", "result": 19, "id": 3}'],
    ["rpc call with named parameters",
     '{"jsonrpc": "2.0", "method": "subtract", "params": {"minuend": 42, "subtrahend": 23}, "id": 4}',
     '{"jsonrpc": "2.0", "result": 19, "id": 4}'],
    ["a Notification", '{"jsonrpc": "2.0", "method": "update", "params": [1,2,3,4,5]}', nil],
    ["a Notification", '{"jsonrpc": "2.0", "method": "foobar"}', nil],
    ["rpc call of non-existent method",
     '{"jsonrpc": "2.0", "method": "foobaz", "id": "1"}',
     # The specification lets an error have `data`: here a method that may be meant.
     '{"jsonrpc": "2.0", "error": {"code": -32601, "message": "Method not found", ' \
     '"data": "did you mean \\"foobar\\"?"}, "id": "1"}'],
    ["rpc call with invalid JSON",
     '{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]',
     '{"jsonrpc": "2.0", "error": {"code": -32700, "message": "Parse error"}, "id": null}'],
    ["rpc call with invalid Request object",
     '{"jsonrpc": "2.0", "method": 1, "params": "bar"}',
     '{"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": null}'],
    ["rpc call Batch, invalid JSON",
     '[{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"}, {"jsonrpc": "2.0", "method"]',
     '{"jsonrpc": "2.0", "error": {"code": -32700, "message": "Parse error"}, "id": null}'],
    ["rpc call with an empty Array", "[]",
     '{"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": null}'],
    ["rpc call with an invalid Batch (but not empty)", "[1]",
     '[{"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": null}]'],
    ["rpc call with invalid Batch", "[1,2,3]",
     '[{"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": null},
       {"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": null},
       {"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": null}]'],
    ["rpc call Batch",
     '[{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},
       {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]},
       {"jsonrpc": "2.0", "method": "subtract", "params": [42,23], "id": "2"},
       {"foo": "boo"},
       {"jsonrpc": "2.0", "method": "foo.get", "params": {"name": "myself"}, "id": "5"},
       {"jsonrpc": "2.0", "method": "get_data", "id": "9"}]',
     '[{"jsonrpc": "2.0", "result": 7, "id": "1"},
       {"jsonrpc": "2.0", "result": 19, "id": "2"},
       {"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": null},
       {"jsonrpc": "2.0", "error": {"code": -32601, "message": "Method not found"}, "id": "5"},
       {"jsonrpc": "2.0", "result": ["hello", 5], "id": "9"}]'],
    ["rpc call Batch (all notifications)",
     '[{"jsonrpc": "2.0", "method": "notify_sum", "params": [1,2,4]},
       {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]}]', nil]
  ]

  section_seven.each_with_index do |(name, request, expected), index|
    it "section 7, example #{index + 1}: #{name}" do
      push("#{JSONRPCEnds::REPLY_TO}!#{request}")
      if expected
        expect(normalised(pop)).to eq(normalised(expected))
      else
        expect_nothing_before_the_next_answer
      end
    end
  end

  # Returns the same text for the same JSON, whatever its whitespace and the order of its members. (This server answers
  # a batch in order, although the specification does not require that.)
  def normalised(text)
    sort = lambda do |value|
      case value
      when Hash then value.sort.to_h.transform_values(&sort)
      when Array then value.map(&sort)
      else value
      end
    end
    JSON.generate(sort.call(JSON.parse(text)))
  end

  it "runs the notifications of the examples" do
    push('{"jsonrpc": "2.0", "method": "update", "params": [1,2,3,4,5]}')
    expect(next_of(@notified)).to eq(["update", [1, 2, 3, 4, 5]])
    push('[{"jsonrpc": "2.0", "method": "notify_sum", "params": [1,2,4]}]')
    expect(next_of(@notified)).to eq(["notify_sum", [1, 2, 4]])
  end

  describe "where the answer goes" do
    it "is named by the request, or by the first of a batch that names a list" do
      push(%({"jsonrpc":"2.0","method":"sum","params":[1,2],"id":1,"reply_to":"#{reply_to}"}))
      expect(JSON.parse(pop)).to eq(result(3, 1))
      push(%([3,{"jsonrpc":"2.0","method":"sum","id":1},
             {"jsonrpc":"2.0","method":"sum","params":[4],"id":2,"reply_to":"#{reply_to}"}]))
      expect(JSON.parse(pop)).to eq([error(-32_600, "Invalid Request", nil), result(0, 1), result(4, 2)])
    end

    it "expires" do
      push(%({"jsonrpc":"2.0","method":"sum","id":1,"reply_to":"#{reply_to}"}))
      eventually { redis.llen(reply_to) == 1 }
      expect(eventually { (left = redis.pttl(reply_to)).positive? && left }).to be_between(1, 60_000)
    end

    it "is never another program's key" do
      ["calculator", "calculator:reply:short", "calculator:servers", "other:reply:0123456789abcdef", "victim",
       "calculator:reply:0123456789abcde\\n", ""].each do |key|
        push(%({"jsonrpc":"2.0","method":"sum","id":1,"reply_to":"#{key}"}))
        expect(next_of(errors).message).to include("is not a reply list of this queue")
      end
      eventually { (keys_beside_records - %w[calculator:servers]).empty? }
    end

    it "may be missing: the method runs all the same" do
      push('{"jsonrpc":"2.0","method":"update","params":[1],"id":1}')
      expect(next_of(@notified)).to eq(["update", [1]])
      expect_nothing_before_the_next_answer
    end
  end

  describe "ids" do
    ['"text"', '""', "0", "-7", "1.5", "1e2", "12345678901234567890123", '"\u00e9\u0000"', "null", '"1"'].each do |id|
      it "keeps #{id}" do
        answer = JSON.parse(answer_to(%({"jsonrpc":"2.0","method":"sum","params":[1],"id":#{id}})))
        expect(answer).to eq(result(1, JSON.parse(id)))
        expect(answer["id"].class).to eq(JSON.parse("[#{id}]").first.class).or eq(Float)
      end
    end

    ["true", "[1]", '{"a":1}', "1e400"].each do |id|
      it "refuses #{id}" do
        answer = JSON.parse(answer_to(%({"jsonrpc":"2.0","method":"sum","id":#{id}})))
        expect(answer).to eq(error(-32_600, "Invalid Request", nil))
      end
    end

    it "are kept in the refusal of an invalid request" do
      answer = JSON.parse(answer_to('{"jsonrpc":"2.0","method":1,"id":"mine"}'))
      expect(answer).to eq(error(-32_600, "Invalid Request", "mine"))
    end
  end

  describe "invalid requests" do
    ["1", "null", '"text"', "true", "{}", '{"method":"sum","id":1}', '{"jsonrpc":2.0,"method":"sum","id":1}',
     '{"jsonrpc":"1.0","method":"sum","id":1}', '{"jsonrpc":"2.0","id":1}', '{"jsonrpc":"2.0","method":null,"id":1}',
     '{"jsonrpc":"2.0","method":"sum","params":"a","id":1}', '{"jsonrpc":"2.0","method":"sum","params":null,"id":1}',
     '{"jsonrpc":"2.0","method":"sum","params":3,"id":1}'].each do |request|
      it "refuses #{request}" do
        id = request.include?('"id":1') ? 1 : nil
        expect(JSON.parse(answer_to(request))).to eq(error(-32_600, "Invalid Request", id))
      end
    end

    it "refuses duplicate members, which two readers could understand differently" do
      ['{"jsonrpc":"2.0","method":"sum","method":"boom","id":1}',
       '{"jsonrpc":"2.0","method":"sum","params":[1],"params":[2],"id":1}',
       '{"jsonrpc":"1.0","jsonrpc":"2.0","method":"sum","id":1}'].each do |request|
        expect(JSON.parse(answer_to(request))).to eq(error(-32_600, "Invalid Request", 1)), request
      end
      twice = '{"jsonrpc":"2.0","method":"sum","id":1,"id":2}'
      expect(JSON.parse(answer_to(twice))).to eq(error(-32_600, "Invalid Request", nil))
      expect(JSON.parse(answer_to("[#{twice}]"))).to eq([error(-32_600, "Invalid Request", nil)])
    end

    it "takes the last of two duplicate members within params, as JSON readers do" do
      expect(JSON.parse(answer_to('{"jsonrpc":"2.0","method":"echo","params":[{"a":1,"a":2}],"id":1}')))
        .to eq(result({ "a" => 2 }, 1))
    end

    it "ignores extra members" do
      expect(JSON.parse(answer_to('{"jsonrpc":"2.0","method":"sum","params":[1],"id":1,"trace":"x","auth":{"a":[]}}')))
        .to eq(result(1, 1))
    end
  end

  describe "errors" do
    it "says what is wrong with parameters" do
      { "[1]" => "1 parameters, at least 2", "[1,2,3]" => "3 parameters, at most 2",
        '{"minuend":1}' => "the parameter subtrahend is missing",
        '{"minuend":1,"subtrahend":2,"x":3}' => 'no parameter is named "x"' }.each do |params, why|
        answer = JSON.parse(answer_to(%({"jsonrpc":"2.0","method":"subtract","params":#{params},"id":1})))
        expect(answer).to eq(error(-32_602, "Invalid params", 1, data: why))
      end
    end

    it "reveals nothing of an unexpected exception" do
      text = answer_to('{"jsonrpc":"2.0","method":"boom","id":1}')
      expect(JSON.parse(text)).to eq(error(-32_603, "Internal error", 1))
      expect(text).not_to match(/hunter2|RuntimeError|_spec/)
      expect(next_of(errors).message).to include("hunter2")
    end

    it "answers no notification, whatever is wrong with it" do
      ['{"jsonrpc":"2.0","method":"nope"}', '{"jsonrpc":"2.0","method":"subtract","params":[1]}',
       '{"jsonrpc":"2.0","method":"boom"}'].each { |text| push("#{reply_to}!#{text}") }
      next_of(errors)
      expect_nothing_before_the_next_answer
    end

    it "refuses a text that is nested too deep as a parse error" do
      deep = "#{"[" * 200}#{"]" * 200}"
      expect(JSON.parse(answer_to(%({"jsonrpc":"2.0","method":"sum","params":#{deep},"id":1}))))
        .to eq(error(-32_700, "Parse error", nil))
    end

    it "reports a text that it can neither read nor answer" do
      push("{broken")
      expect(next_of(errors)).to be_a(RedisIPC::MalformedEntryError)
      push("\xFF\x00".b)
      expect(next_of(errors).message).to include("cannot be read")
      push("\xFF:reply:0123456789abcdef![1]".b)
      expect(next_of(errors).message).to include("is not a reply list")
      push("calculator:reply:0123456789abcdef".b)
      expect(next_of(errors).message).to include("cannot be read")
    end
  end

  describe "batches" do
    it "are capped" do
      batch = Array.new(51) { |number| { jsonrpc: "2.0", method: "update", id: 10 + number } }
      answer = JSON.parse(answer_to(JSON.generate(batch)))
      data = "the batch has 51 requests, at most 50 are allowed"
      expect(answer).to eq(error(-32_600, "Invalid Request", 10, data: data))
      expect(@notified).to be_empty
      expect(JSON.parse(answer_to(JSON.generate(batch.first(50)))).size).to eq(50)
    end

    it "answer each request for itself" do
      answer = JSON.parse(answer_to('[{"jsonrpc":"2.0","method":"boom","id":1},{"jsonrpc":"2.0","method":"sum","id":2},
                                      [], {"jsonrpc":"2.0","method":"nope"}]'))
      expect(answer).to eq([error(-32_603, "Internal error", 1), result(0, 2), error(-32_600, "Invalid Request", nil)])
    end
  end

  it "answers JSON-RPC carried in a stream's request with the same server" do
    server = build_server.on("sum") { |*numbers| numbers.sum }
    stream = build("calculators")
    server.attach(stream)
    stream.connect(redis_options: redis_options)
    asker = connect("asker")
    ask = ->(content) { asker.send_to_group(content: content, to: "calculators").value }

    expect(ask.call({ jsonrpc: "2.0", method: "sum", params: [1, 2], id: "a" }))
      .to eq({ jsonrpc: "2.0", result: 3, id: "a" })
    expect(ask.call([{ jsonrpc: "2.0", method: "sum", id: 1 }, 7]))
      .to eq([{ jsonrpc: "2.0", result: 0, id: 1 },
              { jsonrpc: "2.0", error: { code: -32_600, message: "Invalid Request" }, id: nil }])
    expect(ask.call({ jsonrpc: "2.0", method: "sum", params: [1] })).to be_nil
    expect(ask.call("what?")).to eq({ jsonrpc: "2.0", error: { code: -32_600, message: "Invalid Request" }, id: nil })
  end
end

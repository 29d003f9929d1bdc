# frozen_string_literal: true

RSpec.describe "groups" do
  it "share their requests among their instances" do
    answerers = Array.new(3) { answering_process("child") }
    parent = connect("parent")
    threads = Array.new(6) do
      Thread.new { Array.new(100) { |index| parent.send_to_group(content: index, to: "child", timeout: 20).value } }
    end
    answers = threads.flat_map(&:value)
    expect(answers.map { |answer| answer[:content] }).to eq((0...100).to_a * 6)
    expect(answers.map { |answer| answer[:pid] }.uniq).to match_array(answerers.map(&:pid))
  end

  it "keep apart on one stream" do
    names = Array.new(20) { |index| "group #{index}" }
    names.each do |name|
      connect(name, consumer: { pool_size: 1 }) do |e|
        fulfill_request(e, content: [name, e.content])
      end
    end
    parent = connect("parent")
    futures = names.flat_map do |name|
      Array.new(20) do |i|
        parent.async_send_to_group(content: i, to: name, timeout: 30)
      end
    end
    expected = names.flat_map { |name| Array.new(20) { |index| [name, index] } }
    expect(futures.map(&:value)).to eq(expected)
  end

  it "keep apart on two streams of the same names" do
    connect("child", stream: "one") { |entry| fulfill_request(entry, content: "one") }
    connect("child", stream: "two") { |entry| fulfill_request(entry, content: "two") }
    answers = %w[one two].map do |stream|
      connect("parent", stream: stream).send_to_group(content: 1, to: "child").value
    end
    expect(answers).to eq(%w[one two])
  end

  it "may have any text as their names" do
    ["a:b", "a%3Ab", "%", ":", "ünïcode 😀", "x" * 500, "line\nbreak"].each do |name|
      connect(name) { |entry| fulfill_request(entry, content: [group_name, entry.source_group]) }
      asker = connect("#{name}!")
      expect(asker.send_to_group(content: 1, to: name).value).to eq([name, "#{name}!"])
    end
  end

  it "can be joined while their last member leaves" do
    # A member that leaves deletes the inbox if it is empty.
    expect do
      Array.new(3) { Thread.new { 60.times { connect("child").disconnect } } }.each(&:join)
    end.not_to raise_error
  end

  it "do not let one slow handler hold up the others" do
    gate = Queue.new
    connect("child", consumer: { pool_size: 2 }) do |entry|
      gate.pop if entry.content == "slow"
      fulfill_request(entry, content: entry.content)
    end
    parent = connect("parent")
    slow = parent.async_send_to_group(content: "slow", to: "child", timeout: 30)
    fast = Array.new(50) { |index| parent.async_send_to_group(content: index, to: "child", timeout: 30) }
    expect(fast.map(&:value)).to eq((0...50).to_a)
    expect(slow).not_to be_settled
    gate << true
    expect(slow.value).to eq("slow")
  end
end

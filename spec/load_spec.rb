# frozen_string_literal: true

RSpec.describe "two processes under load" do
  it "exchange 10,000 requests by 16 threads: none lost, none mixed up, nothing left over", timeout: 120 do
    answerer = ruby(<<~RUBY)
      stream = RedisIPC::Stream.new("house", "child")
      stream.on_request { |entry| fulfill_request(entry, content: { question: entry.content, by: Process.pid }) }
      stream.connect
      puts "ready"
      $stdin.gets
      # An answer is counted once Redis has it.
      sleep 0.01 until stream.stats.values_at(:held_requests, :answers_sent) in [0, 10_000..]
      puts stream.stats.values_at(:taken, :answers_sent, :redelivered, :held_requests).join(" ")
      stream.disconnect
      # Ruby keeps the native threads of ended threads for a few seconds.
      sleep 0.05 until Thread.list.size == 1 && Dir.children("/proc/self/task").size <= 2
      puts "alone"
    RUBY
    expect(answerer.line).to eq("ready")
    parent = connect("parent")
    threads = Array.new(16) do |thread|
      Thread.new do
        Array.new(625) do |index|
          question = "#{thread}/#{index}"
          parent.send_to_group(content: question, to: "child",
                               timeout: 60).value == { question: question,
                                                       by: answerer.pid }
        end
      end
    end
    expect(threads.flat_map(&:value).tally).to eq(true => 10_000)
    expect(parent.stats).to include(
      requests: 10_000, fulfilled: 10_000, timed_out: 0, failed: 0, answers_unmatched: 0, resent: 0, open_calls: 0
    )
    parent.disconnect
    answerer.puts("stop")
    expect(answerer.line).to eq("10000 10000 0 0")
    expect(answerer.line).to eq("alone")
    answerer.wait
    expect(redis.keys).to be_empty
  end

  it "keep large contents apart" do
    answering_process("child")
    parent = connect("parent")
    texts = Array.new(12) { |index| index.to_s * 300_000 }
    futures = texts.map { |text| parent.async_send_to_group(content: text, to: "child", timeout: 30) }
    expect(futures.map { |future| future.value[:content] == texts[futures.index(future)] }).to all(be(true))
  end
end

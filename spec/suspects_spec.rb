# frozen_string_literal: true

# Requests that crash whoever runs them.
RSpec.describe "a request that crashes its processes" do
  # Starts a process that kills itself when it gets `"crash"`, and waits for a line of input when it gets `"wait"`.
  def crashing_process(options = "")
    ruby(<<~RUBY).tap { |process| expect(process.line).to eq("ready") }
      stream = RedisIPC::Stream.new("house", "child")
      stream.on_request do |entry|
        Process.kill(:KILL, Process.pid) if entry.content == "crash"
        puts "started"
        $stdin.gets if entry.content == "wait"
        fulfill_request(entry, content: entry.deliveries)
      end
      stream.connect(#{options})
      puts "ready"
      sleep
    RUBY
  end

  def holders_of(letter)
    letter.holders.map { |holder| holder.values_at(:pid, :delivery) }
  end

  it "is among the dead letters as a suspect, with the processes that had it, though its caller waits for 5 s only" do
    pids = Array.new(2) { crashing_process.pid }
    parent = connect("parent")
    expect { parent.send_to_group(content: "crash", to: "child") }
      .to raise_error(RedisIPC::TimeoutError) { |error| expect(error.outcome).to eq(:unknown) }
    letters = parent.dead_letters(group: "child").to_a
    expect(letters.size).to eq(1)
    letter = letters.first
    expect(letter).to have_attributes(suspect?: true, content: "crash", source_group: "parent", deliveries: 2,
                                      reason: /may crash its processes.*the process (#{pids.join("|")}) on /)
    expect(letter.holders).to all(be_frozen).and all(include(instance_id: /\A\h{32}\z/, host: Socket.gethostname))
    expect(holders_of(letter).map(&:first)).to match_array(pids)
    expect(holders_of(letter).map(&:last)).to eq([1, 2])
    expect(letter.retry).to be(true)
    expect(redis.xrange("house:inbox:child").last.last.keys).to include("retried")
    expect(redis.xrange("house:inbox:child").last.last.keys.grep(/\Adead_/)).to be_empty
  end

  it "is a suspect until another process has answered it" do
    first = crashing_process("consumer: { lease: 0.3 }")
    parent = connect("parent")
    future = parent.async_send_to_group(content: "wait", to: "child", timeout: 20)
    expect(first.line).to eq("started")
    expect(parent.dead_letters(group: "child")).to be_empty
    second = crashing_process("consumer: { lease: 0.3 }")
    first.kill
    expect(second.line).to eq("started")
    letter = parent.dead_letters(group: "child").first
    expect(letter).to have_attributes(suspect?: true, deliveries: 2)
    expect(holders_of(letter)).to eq([[first.pid, 1], [second.pid, 2]])
    second.puts("go on")
    expect(future.value).to eq(2)
    eventually { parent.dead_letters(group: "child").empty? }
  end

  it "is no suspect any more once it was given up on, and the letter names all that had it" do
    options = { consumer: { lease: 0.2, max_deliveries: 2 } }
    processes = Array.new(2) { crashing_process(options.inspect.delete_prefix("{").delete_suffix("}")) }
    parent = connect("parent")
    future = parent.async_send_to_group(content: "crash", to: "child", timeout: 20)
    eventually { processes.all?(&:ended?) }
    expect(parent.dead_letters(group: "child").map(&:suspect?)).to eq([true])
    connect("child", **options, &echo)
    expect(future.response.error).to eq("RedisIPC::DeadLetteredError")
    letters = parent.dead_letters(group: "child").to_a
    expect(letters.map(&:suspect?)).to eq([false])
    expect(holders_of(letters.first).map(&:last)).to eq([1, 2])
  end

  it "loses its mark when a stalled process answers it after all" do
    stalled = crashing_process("consumer: { lease: 0.3 }")
    parent = connect("parent")
    future = parent.async_send_to_group(content: "wait", to: "child", timeout: 20)
    expect(stalled.line).to eq("started")
    stalled.kill(:STOP)
    gate = Queue.new
    started = Queue.new
    connect("child", consumer: { lease: 0.3 }, &held(started, gate))
    next_of(started)
    expect(parent.dead_letters(group: "child").map(&:suspect?)).to eq([true])
    stalled.kill(:CONT)
    stalled.puts("go on")
    expect(future.value).to eq(1)
    eventually { parent.dead_letters(group: "child").empty? }
  ensure
    gate&.close
  end
end

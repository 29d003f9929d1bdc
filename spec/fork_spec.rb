# frozen_string_literal: true

RSpec.describe "forks" do
  # Runs the block in a forked child; returns what it returned, through a pipe.
  def in_child(timeout: 20)
    reader, writer = IO.pipe
    pid = fork do
      reader.close
      result = begin
        yield
      rescue Exception => e # rubocop:disable Lint/RescueException -- the example is to see it
        "#{e.class}: #{e.message}"
      end
      writer.write(Marshal.dump(result))
      writer.close
      exit!(0)
    end
    writer.close
    Timeout.timeout(timeout) { [Marshal.load(reader.read), Process.wait(pid)].first } # rubocop:disable Security/MarshalLoad
  rescue Timeout::Error
    Process.kill(:KILL, pid)
    Process.wait(pid)
    raise
  ensure
    reader.close
  end

  let!(:answerer) { answering_process("child") }
  let!(:parent) { connect("parent") }

  it "connect every stream of a process again" do
    all = [parent] + Array.new(15) { |index| connect("other #{index}") }
    answers = in_child { all.map { |stream| stream.send_to_group(content: 1, to: "child").value[:content] } }
    expect(answers).to eq([1] * 16)
  end

  it "leave the parent's stream to the parent, and give the child one of its own" do
    expect(parent.send_to_group(content: 1, to: "child").value[:content]).to eq(1)
    child = in_child do
      value = parent.send_to_group(content: 2, to: "child").value[:content]
      [value, parent.instance_id, parent.connected?]
    end
    expect(child).to match([2, /\A\h{32}\z/, true])
    expect(child[1]).not_to eq(parent.instance_id)
    expect(parent).to be_connected
    expect(parent.send_to_group(content: 3, to: "child").value[:content]).to eq(3)
  end

  it "let handlers answer in the child, with no call from the user" do
    connect("both") { |entry| fulfill_request(entry, content: Process.pid) }
    pids = Array.new(2) do
      fork do
        sleep
      end
    end
    answers = []
    eventually(timeout: 20) { (answers |= [parent.send_to_group(content: 1, to: "both").value]).size == 3 }
    expect(answers).to match_array(pids + [Process.pid])
  ensure
    pids&.each { |pid| Process.kill(:KILL, pid) && Process.wait(pid) }
  end

  it "work from a grandchild" do
    expect(in_child { in_child { parent.send_to_group(content: 5, to: "child").value[:content] } }).to eq(5)
  end

  it "work for channels" do
    channel = Class.new(RedisIPC::Channel) do
      stream "house"
      channel "kitchen"
      event("pid") { Process.pid }
    end
    channel.connect(redis_options: redis_options)
    expect(in_child { channel.trigger_event("pid", target: "kitchen").fulfilled? }).to be(true)
  ensure
    channel&.disconnect
  end

  it "do not close anything of the parent's when the child ends by itself" do
    10.times do
      pid = fork { nil }
      Process.wait(pid)
    end
    expect(parent.send_to_group(content: 1, to: "child").value[:content]).to eq(1)
    expect(parent.stats).to include(reconnections: 0)
  end

  it "let the child connect by itself: that one counts" do
    child = in_child do
      parent.connect(redis_options: redis_options, ledger: { entry_timeout: 9 })
      pids = parent.instances.select { |row| row[:group] == "parent" }.map { |row| row[:pid] }
      [parent.send_to_group(content: 1, to: "child").value[:content], pids.count(Process.pid)]
    end
    expect(child).to eq([1, 1])
  end

  it "leave nothing behind in a child that disconnects while Redis is away" do
    server = start_server
    lone = build("lone").connect(redis_options: { path: server.path, connect_timeout: 0.2 })
    server.kill
    child = in_child do
      lone.on_error { nil }
      lone.disconnect(timeout: 0.1)
      [lone.connected?, Thread.list.count { |thread| thread.name.to_s.include?("house/lone") }]
    end
    expect(child).to eq([false, 0])
  end

  it "leave no socket of the parent's open in the child" do
    inodes = lambda do
      Dir.children("/proc/self/fd").filter_map do |fd|
        File.readlink("/proc/self/fd/#{fd}")[/socket:\[\d+\]/]
      rescue Errno::ENOENT
        nil
      end
    end
    redis.close # the example's own client is none of the gem's business
    before = inodes.call
    expect(before.size).to be >= 3
    expect(in_child { inodes.call & before }).to be_empty
    expect(parent.send_to_group(content: 1, to: "child")).to be_fulfilled
  end

  it "raise a clear error in the child with reconnect_after_fork: false" do
    lone = connect("lone", reconnect_after_fork: false)
    child = in_child do
      error = begin
        lone.send_to_group(content: 1, to: "child")
      rescue RedisIPC::NotConnectedError => e
        e.message
      end
      [lone.connected?, error]
    end
    expect(child).to match([false, /connected before this process was forked/])
    expect(lone.send_to_group(content: 1, to: "child")).to be_fulfilled
  end

  it "give a call made before the fork to the parent only" do
    future = parent.async_send_to_group(content: 1, to: "child")
    expect(in_child { future.value }).to match(/NotConnectedError.*made before this process was forked/)
    expect(future.value[:content]).to eq(1)
  end

  it "do no harm while many threads send and receive", timeout: 120 do
    both = connect("both", consumer: { pool_size: 8 }, &echo)
    stop = false
    failures = Queue.new
    threads = Array.new(16) do |index|
      Thread.new { (both.send_to_group(content: index, to: "both").value == index) || (failures << index) until stop }
    end
    results = Array.new(15) do |number|
      in_child { Array.new(3) { Thread.new { both.send_to_group(content: number, to: "both").value } }.map(&:value) }
    end
    stop = true
    threads.each(&:join)
    expect(results).to eq(Array.new(15) { |number| [number] * 3 })
    expect(failures).to be_empty
    expect(both.stats).to include(timed_out: 0, failed: 0, answers_unmatched: 0, open_calls: 0)
  end

  it "work for a daemon" do
    process = ruby(<<~RUBY)
      stream = RedisIPC::Stream.new("house", "daemon").connect
      Process.daemon(true, true)
      puts stream.connected?
      puts stream.send_to_group(content: 7, to: "child").value[:content]
    RUBY
    expect([process.line, process.line]).to eq(%w[false 7])
  end
end

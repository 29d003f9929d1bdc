# frozen_string_literal: true

require "open3"

RSpec.describe "forks" do
  # Runs the block in a forked child. Returns the block's result, which comes through a pipe.
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

  it "let the child connect by itself, and that connection counts" do
    child = in_child do
      parent.connect(redis_options: redis_options, ledger: { entry_timeout: 9 })
      pids = parent.instances.select { |row| row[:group] == "parent" }.map { |row| row[:pid] }
      [parent.send_to_group(content: 1, to: "child").value[:content], pids.count(Process.pid)]
    end
    expect(child).to eq([1, 1])
  end

  describe "while Redis is down" do
    let(:away) { start_server }

    # Returns a stream of the parent whose server is gone.
    def lone_stream
      build("lone").connect(redis_options: { path: away.path, connect_timeout: 1 }).tap { away.kill }
    end

    it "make the child try again and again, and report that less and less often" do
      lone = lone_stream
      told, attempts = in_child do
        pauses = Queue.new
        allow_any_instance_of(RedisIPC.const_get(:Patience)).to receive(:sleep) { pauses << true }
        reports = Queue.new
        lone.on_error { |error| reports << error.class }
        eventually { reports.size >= 5 }
        [Array.new(5) { reports.pop }, pauses.size]
      end
      expect(told).to all(eq(RedisIPC::ConnectionError))
      # The 1st, 2nd, 4th, 8th and 16th attempts.
      expect(attempts).to be >= 15
    end

    it "leave nothing behind in a child that disconnects" do
      lone = lone_stream
      child = in_child do
        lone.on_error { nil }
        lone.disconnect(timeout: 0.1)
        # The child does not reconnect by itself.
        away.start
        use = begin
          lone.send_to_group(content: 1, to: "child", timeout: 0.1)
        rescue RedisIPC::Error => e
          e.class.name
        end
        away.stop
        [lone.connected?, Thread.list.count { |thread| thread.name.to_s.include?("house/lone") }, use]
      end
      expect(child).to eq([false, 0, "RedisIPC::NotConnectedError"])
    end
  end

  it "leave no socket of the parent's open in the child" do
    inodes = lambda do
      Dir.children("/proc/self/fd").filter_map do |fd|
        File.readlink("/proc/self/fd/#{fd}")[/socket:\[\d+\]/]
      rescue Errno::ENOENT
        nil
      end
    end
    # Clients of other examples may be open. They do not belong to the gem.
    others = inodes.call
    stream = connect("another")
    # This opens the pool's connection before the fork. A connection that is just being opened may go unnoticed.
    stream.instances
    own = inodes.call - others
    expect(own.size).to be >= 3
    expect(in_child { inodes.call & own }).to be_empty
    expect(stream.send_to_group(content: 1, to: "child")).to be_fulfilled
  end

  describe "with reconnect_after_fork: false" do
    def said_by
      yield
    rescue RedisIPC::Error => e
      "#{e.class}: #{e.message}"
    end

    it "every use in the child raises a clear error, and the parent goes on" do
      entries = Queue.new
      lone = connect("lone", reconnect_after_fork: false) { |entry| entries << entry }
      pending = lone.async_send_to_group(content: 1, to: "lone")
      chained = pending.then { 1 }
      entry = next_of(entries)
      uses = {
        send_to_group: -> { lone.send_to_group(content: 1, to: "child") },
        async_send_to_group: -> { lone.async_send_to_group(content: 1, to: "child") },
        fulfill_request: -> { lone.fulfill_request(entry, content: 1) },
        reject_request: -> { lone.reject_request(entry, content: 1) },
        expired?: -> { entry.expired? },
        stats: -> { lone.stats },
        instances: -> { lone.instances },
        instance_id: -> { lone.instance_id },
        **%i[wait settled? value value! response].to_h { |use| [use, -> { pending.public_send(use) }] },
        then: -> { pending.then { 1 } },
        chained_wait: -> { chained.wait },
        chained_value: -> { chained.value },
        chained_then: -> { chained.then { 1 } }
      }
      said = in_child { uses.transform_values { |use| said_by(&use) } }
      expect(said.values).to all(match(/NotConnectedError: the (stream was connected|call was made) before this/))
      expect(lone.fulfill_request(entry, content: 2)).to be(true)
      expect([pending.value, chained.value]).to eq([2, 1])
      expect(lone.send_to_group(content: 1, to: "child")).to be_fulfilled
    end

    it "the child can look at what it inherited, leave it, and connect by itself" do
      lone = connect("lone", reconnect_after_fork: false)
      future = lone.async_send_to_group(content: 1, to: "child")
      said = in_child do
        seen = [lone.connected?, lone.inspect, future.inspect, lone.disconnect.equal?(lone)]
        lone.connect(redis_options: redis_options)
        seen << lone.send_to_group(content: 1, to: "child").fulfilled?
      end
      expect(said).to eq([false, "#<RedisIPC::Stream house/lone not connected>",
                          "#<RedisIPC::Future of another process>", true, true])
      expect(future.value[:content]).to eq(1)
    end

    it "a channel raises it too" do
      channel = Class.new(RedisIPC::Channel) do
        stream "house"
        channel "lonely"
      end
      channel.connect(redis_options: redis_options, reconnect_after_fork: false)
      said = in_child do
        [-> { channel.trigger_event("a", target: "child") }, -> { channel.async_trigger_event("a", target: "child") },
         -> { channel.stats }].map { |use| said_by(&use) } << channel.connected?
      end
      expect(said).to match([*[/NotConnectedError: the stream was connected before/] * 3, false])
    ensure
      channel&.disconnect
    end
  end

  it "give a call made before the fork to the parent only" do
    future = parent.async_send_to_group(content: 1, to: "child")
    expect(in_child { future.value }).to match(/NotConnectedError.*made before this process was forked/)
    expect(future.value[:content]).to eq(1)
  end

  # How servers and test runners fork, each in a process of its own.
  describe "by" do
    it "a server that preloads and forks workers (Puma, Unicorn): each worker serves, ends on TERM, and is replaced" do
      server = ruby(<<~RUBY)
        stream = RedisIPC::Stream.new("house", "workers")
        stream.on_request { |entry| fulfill_request(entry, content: [Process.pid, Process.ppid]) }
        stream.connect
        start = lambda do
          fork do
            trap("TERM") { exit }
            sleep
          end
        end
        workers = Array.new(2) { start.call }
        puts Process.pid
        $stdin.gets
        workers.each { |pid| Process.kill(:TERM, pid) && Process.wait(pid) && (puts $?.exitstatus.inspect) }
        workers = [start.call]
        puts workers
        $stdin.gets
        Process.kill(:TERM, workers.first) && Process.wait(workers.first)
        stream.disconnect
        puts "done"
      RUBY
      master = server.line.to_i
      pids = []
      eventually(timeout: 20) { (pids |= [parent.send_to_group(content: 1, to: "workers").value]).size == 3 }
      expect(pids.count { |_, ppid| ppid == master }).to eq(2)
      server.puts("restart")
      expect([server.line, server.line]).to eq(%w[0 0])
      replacement = server.line.to_i
      eventually(timeout: 20) { parent.send_to_group(content: 1, to: "workers").value.first == replacement }
      server.puts("stop")
      expect(server.line).to eq("done")
      expect(parent.instances.map { |row| row[:group] }).not_to include("workers")
    end

    it "a server that forks per command (Spring), whose children run at_exit handlers that still call" do
      server = ruby(<<~'RUBY')
        stream = RedisIPC::Stream.new("house", "spring").connect
        at_exit { puts "at exit: #{stream.send_to_group(content: 2, to: "child").value[:content]}" if @child }
        while $stdin.gets
          pid = fork do
            @child = true
            Process.setsid
            puts "command: #{stream.send_to_group(content: 1, to: "child").value[:content]}"
            exit 3
          end
          Process.wait(pid)
          puts $?.exitstatus
        end
      RUBY
      2.times do
        server.puts("command")
        expect(Array.new(3) { server.line }).to eq(["command: 1", "at exit: 2", "3"])
      end
    end

    it "a parallel test runner: children that end by exit! while others work" do
      stream = parent
      children = Array.new(6) do |number|
        fork do
          exit!(0) if number.even?
          exit!(stream.send_to_group(content: number, to: "child").value[:content] == number ? 0 : 1)
        end
      end
      expect(children.map { |pid| Process.wait2(pid).last.exitstatus }).to all(eq(0))
      expect(parent.send_to_group(content: 1, to: "child")).to be_fulfilled
    end

    it "exec: the new program inherits no socket" do
      process = ruby(<<~'RUBY')
        stream = RedisIPC::Stream.new("house", "exec").connect
        code = 'puts Dir.children("/proc/self/fd").filter_map { |fd| File.readlink("/proc/self/fd/#{fd}")[/socket/] rescue nil }.size'
        command = [RbConfig.ruby, "-e", code]
        Process.wait(fork { exec(*command) })
        system(*command)
        exec(*command)
      RUBY
      expect(Array.new(3) { process.line }).to eq(%w[0 0 0])
    end

    # The lock of the native request may be held for ever in the child, by a thread that only the parent has.
    it "a handler: the child leaves the native request alone when its copy of the handler returns" do
      process = ruby(<<~'RUBY')
        stream = RedisIPC::Stream.new("house", "forking")
        stream.on_request do |entry|
          if (child = fork).nil?
            entry.native.define_singleton_method(:leave) { puts "touched" }
            next
          end
          Process.wait(child)
          fulfill_request(entry, content: 1)
        end
        stream.connect
        puts "ready"
        $stdin.gets
        puts "over"
      RUBY
      expect(process.line).to eq("ready")
      expect(parent.send_to_group(content: 1, to: "forking").value).to eq(1)
      process.puts("stop")
      expect(process.line).to eq("over")
    end

    it "a handler, with and without a block: the child's copy of the request is not answered twice" do
      process = ruby(<<~'RUBY')
        stream = RedisIPC::Stream.new("house", "forking")
        stream.on_request do |entry|
          asked = fork { exit!(stream.send_to_group(content: 4, to: "child").value[:content]) }
          if (returned = fork).nil?
            # This is the child. What it does here is its own work.
            exit(stream.send_to_group(content: 5, to: "child").value[:content])
          end
          wandering = fork
          next if wandering.nil?

          statuses = [asked, returned, wandering].map { |pid| Process.wait2(pid).last.exitstatus }
          fulfill_request(entry, content: statuses)
        end
        stream.on_error { |error| puts "error: #{error.message}" }
        stream.connect
        puts "ready"
        $stdin.gets
        # An answer is counted once Redis has it.
        sleep 0.01 until stream.stats.values_at(:held_requests, :answers_sent) in [0, 2..]
        puts stream.stats.slice(:answers_sent, :taken, :redelivered)
      RUBY
      expect(process.line).to eq("ready")
      2.times { expect(parent.send_to_group(content: 1, to: "forking").value).to eq([4, 5, 0]) }
      process.puts("stop")
      expect(process.line).to eq({ answers_sent: 2, taken: 2, redelivered: 0 }.to_s)
      expect(parent.stats).to include(answers_unmatched: 0)
    end
  end

  it "do no harm while 16 threads send and receive: bin/soak forks", timeout: 120 do
    library, script = %w[lib soak/forks.rb].map { |path| File.expand_path("../#{path}", __dir__) }
    output, status = Open3.capture2e(RbConfig.ruby, "-I#{library}", script, "36")
    expect(output.lines.grep(/\d well$/).size).to eq(9), output
    expect(status).to be_success, output
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

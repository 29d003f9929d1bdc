# frozen_string_literal: true

# Redis refuses writes for a while, and keeps its connections. What was done before must not be lost.
RSpec.describe "a server that refuses writes for a while" do
  let(:redis_options) { { url: server.url, connect_timeout: 2 } }
  let(:runs) { Queue.new }
  let(:gate) { Queue.new }

  # Answers when the gate opens, and records that it ran.
  def held_handler
    runs = self.runs
    gate = self.gate
    proc do |entry|
      runs << entry.content
      gate.pop unless entry.content == "quick"
      fulfill_request(entry, content: entry.content)
    end
  end

  shared_examples "a temporary condition" do |code|
    it "keeps a stream's answers, runs no request twice, and fails new calls at once" do
      stream = connect("both", consumer: { pool_size: 4, lease: 0.5 }, &held_handler)
      futures = Array.new(4) { |index| stream.async_send_to_group(content: index, to: "both", timeout: 30) }
      4.times { next_of(runs) }
      start_refusing
      took = seconds do
        expect { stream.send_to_group(content: "new", to: "both", timeout: 20) }
          .to raise_error(RedisIPC::CommandError, /#{code}/) { |error| expect(error.outcome).to eq(:not_sent) }
      end
      expect(took).to be < 5
      4.times { gate << true }
      # This is longer than a lease, after which others take over what is not renewed.
      expect(futures.first.wait(1.5)).to be(false)
      stop_refusing
      expect(futures.map(&:value)).to eq([0, 1, 2, 3])
      expect(stream.send_to_group(content: "quick", to: "both", timeout: 10).value).to eq("quick")
      expect(Array.new(runs.size) { runs.pop }).to eq(["quick"])
      eventually { server.client.xlen("house:inbox:both").zero? }
      eventually { stream.stats[:answers_sent] == 5 }
      expect(stream.stats[:answers_dropped]).to eq(0)
    end

    it "keeps a JSON-RPC server's answers, runs no request twice, and fails new calls at once" do
      rpc_server(threads: 4, lease: 0.5) do |it|
        it.on("run") do |content|
          runs << content
          gate.pop unless content == "quick"
          content
        end
      end
      client = rpc_client
      threads = Array.new(4) { |index| Thread.new { client.call("run", index, timeout: 30) } }
      4.times { next_of(runs) }
      start_refusing
      expect { client.call("run", "new", timeout: 20) }.to raise_error(RedisIPC::CommandError, /#{code}/) { |error|
        expect(error.outcome).to eq(:not_sent)
      }
      4.times { gate << true }
      expect(threads.first.join(1.5)).to be_nil
      stop_refusing
      expect(threads.map(&:value)).to eq([0, 1, 2, 3])
      expect(client.call("run", "quick", timeout: 10)).to eq("quick")
      expect(Array.new(runs.size) { runs.pop }).to eq(["quick"])
    end

    it "drops a stream's answer whose deadline passes meanwhile, and reports that" do
      stream = connect("both", &held_handler)
      future = stream.async_send_to_group(content: 1, to: "both", timeout: 1)
      next_of(runs)
      start_refusing
      gate << true
      expect { future.value }.to raise_error(RedisIPC::TimeoutError)
      eventually { stream.stats[:answers_dropped] == 1 }
      expect(eventually { errors.size.positive? && errors.pop.message[/an answer was lost: .*#{code}/] }).to be_truthy
    ensure
      stop_refusing
    end
  end

  context "after a snapshot failed (MISCONF)" do
    let(:server) { start_server(save: "3600 1") }
    let(:obstacle) { File.join(File.dirname(server.path), "dump.rdb", "in the way") }

    def start_refusing
      FileUtils.mkdir_p(obstacle)
      server.client.bgsave
      eventually { server.client.info("persistence")["rdb_last_bgsave_status"] == "err" }
    end

    def stop_refusing
      FileUtils.rm_rf(File.dirname(obstacle))
      eventually do
        server.client.bgsave if server.client.info("persistence")["rdb_bgsave_in_progress"] == "0"
        server.client.info("persistence")["rdb_last_bgsave_status"] == "ok"
      end
    end

    include_examples "a temporary condition", "MISCONF"
  end

  context "while a script runs (BUSY)" do
    let(:server) { start_server(busy_reply_threshold: 50) }

    def start_refusing
      @script = Thread.new do
        Redis.new(path: server.path, timeout: 60).call("EVAL", "while true do end", 0)
      rescue Redis::BaseError
        nil
      end
      eventually { server.ping.to_s.include?("BUSY") }
    end

    def stop_refusing
      server.client.call("SCRIPT", "KILL")
      @script.join
    end

    include_examples "a temporary condition", "BUSY"
  end

  context "at maxmemory (OOM)" do
    let(:server) { start_server }

    def start_refusing
      server.client.call("CONFIG", "SET", "maxmemory", "1")
    end

    def stop_refusing
      server.client.call("CONFIG", "SET", "maxmemory", "0")
    end

    include_examples "a temporary condition", "OOM"

    # Answers like a server that got memory again from Redis in between.
    def answer(request, result)
      text = JSON.generate("jsonrpc" => "2.0", "result" => result, "id" => request["id"])
      script = "#!lua flags=allow-oom\nreturn redis.call('LPUSH', KEYS[1], ARGV[1])"
      server.client.call("EVAL", script, 1, request["reply_to"], text)
    end

    it "does not keep a JSON-RPC client from reading its answers" do
      client = rpc_client
      threads = Array.new(2) { |index| Thread.new { client.call("run", index, timeout: 20) } }
      eventually { server.client.llen("calculator") == 2 }
      start_refusing
      requests = server.client.lrange("calculator", 0, -1).map { |text| JSON.parse(text) }
      requests.sort_by { |request| request["params"].first }.zip(threads, [5, 6]) do |request, thread, result|
        answer(request, result)
        expect(thread.value).to eq(result)
      end
      expect(client).to be_connected
    end

    it "does not keep a JSON-RPC server from disconnecting" do
      calculator = rpc_server do |it|
        it.on("run") do |content|
          runs << content
          gate.pop
        end
      end
      client = rpc_client
      asking = Thread.new { client.call("run", 1, timeout: 40) }
      asking.report_on_exception = false
      next_of(runs)
      start_refusing
      gate << true
      expect(seconds { calculator.disconnect(timeout: 2) }).to be < 15
    ensure
      asking&.kill
    end
  end
end

# frozen_string_literal: true

require "fileutils"
require "open3"
require "tmpdir"

# The verbs of the command that ask and answer, beside a real server.
RSpec.describe "redis_ipc" do
  include Commands

  around do |example|
    before = ENV.to_h.slice("REDIS_URL", "REDIS_IPC_STREAM")
    ENV.update("REDIS_URL" => RedisServer.shared.url, "REDIS_IPC_STREAM" => "house")
    example.run
  ensure
    ENV.update("REDIS_URL" => nil, "REDIS_IPC_STREAM" => nil, **before)
  end

  describe "request" do
    it "prints what a channel's event returns, with --json the outcome too" do
      kitchen = Class.new(RedisIPC::Channel) do
        stream "house"
        channel "kitchen"
        event("cook", params: [:dish]) { { done: params[:dish] } }
        event("fail") { raise KeyError, "no salt" }
        on_error { nil }
      end
      kitchen.connect(redis_options: redis_options)
      told = said("request", "kitchen", '{"dish":"pasta"}', "--event", "cook", "--as", "waiter")
      expect(told.to_a).to eq([0, "{\n  \"done\": \"pasta\"\n}\n", ""])
      told = said("request", "kitchen", "-e", "cook", "-j")
      expect(told.json).to include(outcome: "fulfilled", value: { done: nil }, seconds: be_between(0, 5),
                                   instance: kitchen.instances.first[:instance_id])
      told = said("request", "kitchen", "-e", "fail")
      expect(told.to_a)
        .to eq([3, "", "redis_ipc: kitchen rejected the request (KeyError):\n\"KeyError: no salt\"\n"])
      told = said("request", "kitchen", "-e", "fail", "--json")
      expect([told.status, told.json]).to match([3, include(outcome: "rejected", error: "KeyError")])
    ensure
      kitchen&.disconnect
    end

    it "reads standard input, and prints text without what a terminal would obey" do
      connect("kitchen") { |entry| fulfill_request(entry, content: "#{entry.content}\e[2J\u009b2J") }
      expect(said("request", "kitchen", "-", "--text", input: "two\nlines").out).to eq("two\nlines\e[2J\u009b2J\n")
      expect(said("request", "kitchen", "-", input: "\"one\"").out).to eq("\"one\\u001b[2J\\u009b2J\"\n")
    end

    it "has the exit statuses that it says" do
      started = Queue.new
      gate = Queue.new
      connect("kitchen", &held(started, gate))
      told = said("request", "kitchen", "-t", "0.1", "--json")
      expect([told.status, told.json]).to match([5, include(outcome: "unknown", status: 5)])
      gate << nil
      told = said("request", "chidl", "-t", "0.1")
      expect([told.status, told.out, told.err]).to match([4, "", /\Aredis_ipc: no answer from "chidl"/])
      told = said("request", "kitchen", "--redis", "redis://127.0.0.1:#{RedisServer.free_port}")
      expect([told.status, told.err]).to match([6, /\Aredis_ipc: Redis cannot be reached/])
      redis.call("ACL", "SETUSER", "guest", "on", "nopass", "+ping", "+hello")
      told = said("request", "kitchen", "--redis", "redis://guest:x@127.0.0.1:#{RedisServer.shared.port}")
      expect([told.status, told.err]).to match([7, /\Aredis_ipc: Redis refused the command/])
      expect(said("request", "kitchen", "--redis", "http://a").status).to eq(2)
      ENV.delete("REDIS_IPC_STREAM")
      expect(said("request", "kitchen").err).to start_with("redis_ipc: name the stream: --stream NAME")
    ensure
      redis.call("ACL", "DELUSER", "guest")
    end

    it "takes the request back on Ctrl-C" do
      process = command("request", "nobody", "-t", "30")
      eventually { redis.xlen("house:inbox:nobody") == 1 }
      process.kill(:INT)
      expect([process.rest, process.wait.exitstatus, redis.xlen("house:inbox:nobody")]).to eq(["", 130, 0])
    end

    it "finds the server by what --require configures" do
      Dir.mktmpdir do |folder|
        file = File.join(folder, "setup.rb")
        File.write(file, "RedisIPC.configure { |config| config.redis_options = #{redis_options} }")
        connect("kitchen", &echo)
        expect(said("request", "kitchen", "7", "-r", file).out).to eq("7\n")
      end
    ensure
      RedisIPC.configuration.redis_options = {}
    end
  end

  describe "serve" do
    it "echoes, and ends on TERM in order" do
      process = command("serve", "kitchen", "--echo", "--content", "--threads", "1")
      expect(process.line).to match(%r{\Aredis_ipc answers house/kitchen \(redis://.*, 1 thread\)\z})
      expect(said("request", "kitchen", "[1]").out).to eq("[\n  1\n]\n")
      expect(process.line).to match(/\A\d\d:\d\d:\d\d redis_ipc \h{32} fulfilled in .*: \[1\] -> \[1\]\z/)
      process.kill(:TERM)
      expect(process.wait.exitstatus).to eq(0)
      eventually { redis.zcard("house:instances").zero? }
    end

    it "answers with what a program prints, and kills one that runs too long with all that it started" do
      script = "read content; case $content in 1) echo $REDIS_IPC_FROM $REDIS_IPC_EVENT;; 2) echo why >&2; exit 3;; " \
               "3) sleep 9#{Process.pid} | sleep 8#{Process.pid};; *) printf '{\"got\":%s}' \"$content\";; esac"
      process = command("serve", "kitchen", "-x", script, "--json", "-n", "4")
      process.line
      expect(said("request", "kitchen", "[7]", "-j").json).to include(value: { got: [7] })
      expect(JSON.parse(process.line)).to include("from" => "redis_ipc", "outcome" => "fulfilled", "delivery" => 1)
      expect(said("request", "kitchen", "1", "--as", "me").out).to eq("\"me\"\n")
      told = said("request", "kitchen", "2")
      expect(told.to_a).to match([3, "", /rejected the request:\n"the program ended with status 3: why"\n/])
      expect(said("request", "kitchen", "3", "-t", "0.5", "-j").json)
        .to include(reason: "the program ran longer than the request may wait")
      expect(process.rest.lines.size).to eq(3)
      expect(process.wait.exitstatus).to eq(0)
      expect(`ps -eo args`).not_to match(/^sleep [89]#{Process.pid}$/)
    end

    it "answers with what a program has printed, also if it leaves a process behind that could print more" do
      expect { expect(RedisIPC::CLI::Program.new("echo 5; sleep 3 &").run("", 5, {})).to eq([true, 5]) }
        .not_to output.to_stderr
    end

    it "wants one way to answer" do
      expect(said("serve", "kitchen").to_a).to match([2, "", /\Aredis_ipc: say how to answer: --echo or --exec/])
    end
  end

  describe "rpc call" do
    it "prints results and errors, and has the exit statuses that it says" do
      server = RedisIPC::JSONRPC::Server.new("sums", redis_options: redis_options)
      seen = Queue.new
      server.on("subtract") { |minuend:, subtrahend:| minuend - subtrahend }
      server.on("sum") { |*numbers| numbers.sum.tap { |sum| seen << sum } }
      server.on("fail") { raise RedisIPC::JSONRPC::Error.new("no root", code: 7, data: { of: -1 }) }
      server.connect
      expect(said("rpc", "call", "sums", "sum", "--", "1", "-2").to_a).to eq([0, "-1\n", ""])
      expect(said("rpc", "call", "sums", "subtract", "-n", '{"minuend":3,"subtrahend":1}', "-j").json)
        .to include(outcome: "fulfilled", result: 2)
      expect(said("rpc", "call", "sums", "fail").to_a)
        .to eq([3, "", "redis_ipc: sums answered with the error 7: no root\n{\n  \"of\": -1\n}\n"])
      expect(said("rpc", "call", "sums", "sum", "5", "--notify").to_a).to eq([0, "", ""])
      expect([next_of(seen), next_of(seen)]).to eq([-1, 5])
      expect(said("rpc", "call", "none", "sum", "-t", "0.1").status).to eq(4)
      expect(said("rpc", "call", "sums", "sum", "x").status).to eq(2)
    ensure
      server&.disconnect
    end
  end

  describe "rpc serve" do
    it "answers with what a program prints, for parameters by position and by name" do
      script = "read params; case $params in '{}'|'[]') echo none >&2; exit 1;; esac; printf '[%s]' \"$params\""
      process = command("rpc", "serve", "sums", "show", "-x", script, "--content", "-n", "3")
      expect(process.line).to eq("redis_ipc serves show on sums")
      expect(said("rpc", "call", "sums", "show", "1", "2", "-j").json).to include(result: [[1, 2]])
      expect(said("rpc", "call", "sums", "show", "-n", '{"a":1}', "-j").json).to include(result: [{ a: 1 }])
      expect(said("rpc", "call", "sums", "show").to_a).to match([3, "", /the program ended with status 1: none$/])
      expect(process.rest).to match(/show fulfilled in .*: \[1,2\] -> \[\[1,2\]\]\n.*\n.*show rejected in /)
      expect(process.wait.exitstatus).to eq(0)
    end
  end

  describe "events publish" do
    it "adds events, and prints their positions" do
      told = said("events", "publish", "orders", '{"id":7}', "--type", "order.paid", "--key", "7")
      expect(redis.xrange("orders").first).to match([told.out.chomp, include("type" => "order.paid", "key" => "7")])
      told = said("events", "publish", "orders", "--lines", "-j", input: "1\n2\n3\n")
      positions = told.out.lines.map { |line| JSON.parse(line)["position"] }
      expect(positions).to eq(redis.xrange("orders").map(&:first).last(3))
      expect(said("events", "publish", "orders", "--lines", input: "1\n{\n").err).to include("line 2 is no JSON")
    end
  end

  describe "bench" do
    it "measures with two processes, and leaves no key" do
      told = said("bench", "--seconds", "0.1", "--threads", "1,3", "--json")
      expect([told.status, told.err]).to eq([0, ""])
      one, three = told.json
      expect(one).to include(threads: 1, calls: be > 10, calls_per_second: be > 100, p50: be < 0.1)
      expect(three).to include(threads: 3, longest: be >= three[:p99])
      expect(redis.keys("*")).to be_empty
    end

    it "works in an installed gem, whose compiled library RubyGems may keep in another folder" do
      Dir.mktmpdir do |folder|
        FileUtils.cp_r(Processes::LIBRARY, File.join(folder, "lib"))
        built = FileUtils.mkdir_p(File.join(folder, "built/redis_ipc")).first
        Dir[File.join(folder, "lib/redis_ipc/*/redis_ipc.so")].each do |file|
          FileUtils.mv(file, built)
          Dir.rmdir(File.dirname(file))
        end
        process = run_process(RbConfig.ruby, "-I#{folder}/lib", "-I#{folder}/built", Commands::EXECUTABLE,
                              "bench", "-t", "0.1", "--threads", "1", "--json")
        expect(JSON.parse(process.rest)).to contain_exactly(include("calls" => be > 10))
      end
    end

    it "says so if Redis is away" do
      told = said("bench", "--redis", "redis://127.0.0.1:#{RedisServer.free_port}")
      expect([told.status, told.err]).to match([6, /\Aredis_ipc: Redis cannot be reached/])
    end
  end

  describe "acl print" do
    it "prints what RedisIPC::ACL.rules has" do
      rules = RedisIPC::ACL.rules(:asker, stream: "house", group: "me", to: %w[a b], cluster: true)
      arguments = %w[acl print asker -s house -g me --to a,b --cluster]
      expect(said(*arguments).out.lines(chomp: true)).to eq(rules)
      expect(said(*arguments, "--json").json).to eq(rules)
      expect(said(*arguments, "--user", "me").out).to eq("user me on #{rules.join(" ")}\n")
      expect(said("acl", "print", "asker", "-s", "house").to_a)
        .to match([2, "", /\Aredis_ipc: asker: missing --group, --to\n/])
    end
  end

  describe "completion" do
    def completed(*words)
      script = "source <(cat); COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _redis_ipc; " \
               "printf '%s\\n' \"${COMPREPLY[@]}\""
      text, status = Open3.capture2e("bash", "-c", script, "bash", "redis_ipc", *words,
                                     stdin_data: said("completion", "bash").out)
      expect(status).to be_success
      text.split
    end

    it "completes verbs, options, choices and files in bash" do
      expect(completed("ev")).to eq(["events"])
      expect(completed("events", "")).to include("publish", "slots")
      expect(completed("acl", "print", "obs")).to eq(["observer"])
      expect(completed("request", "kitchen", "--t")).to eq(%w[--text --timeout])
      expect(completed("completion", "f")).to eq(["fish"])
      expect(completed("work", "Gemf")).to eq(["Gemfile"])
      expect(completed("request", "kitchen", "--timeout", "")).to be_empty
    end

    it "knows every verb and option in every shell" do
      %w[bash zsh fish].each do |shell|
        script = said("completion", shell).out
        RedisIPC::CLI::Catalog.verbs.each do |verb|
          names = verb.options.map { |option| option.switches.last.delete_prefix("--") } + verb.verb.split
          expect(names.reject { |name| script.include?(name) }).to be_empty
        end
        next unless system("command -v #{shell}", out: File::NULL)

        expect(Open3.capture2e(shell, "-n", stdin_data: script)).to match(["", be_success])
      end
    end
  end

  describe "its output" do
    let(:terminal) { RedisIPC::CLI::Terminal.new }

    # Returns what the block returns while standard output is a terminal of 40 columns.
    def on_terminal(**environment)
      before = [$stdout, ENV.to_h]
      $stdout = StringIO.new
      $stdout.define_singleton_method(:tty?) { true }
      $stdout.define_singleton_method(:winsize) { [24, 40] }
      ENV.update("COLUMNS" => nil, "TERM" => "xterm", "NO_COLOR" => nil, **environment.transform_keys(&:to_s))
      yield
    ensure
      $stdout = before.first
      ENV.replace(before.last)
    end

    def red(**options)
      terminal.set(json: false, color: true, **options)
      terminal.paint("x", :red)
    end

    it "has colours on a terminal, unless NO_COLOR, TERM or --no-color say otherwise" do
      expect(red).to eq("x")
      expect(on_terminal { red }).to eq("\e[31mx\e[0m")
      expect(on_terminal { red(color: false) }).to eq("x")
      expect(on_terminal(NO_COLOR: "1") { red }).to eq("x")
      expect(on_terminal(TERM: "dumb") { red }).to eq("x")
    end

    it "has tables that fit a terminal, and no control characters of others" do
      rows = [["a" * 30, 12, "x"], ["b\e[2J", nil, "y"]]
      expect(terminal.table(%w[name count more], rows))
        .to eq(["name                            count  more", "#{"a" * 30}     12  x", "b\\e[2J#{" " * 24}      -  y"])
      narrow = on_terminal { terminal.table(%w[name count more], rows, spare: ["count"]) }
      expect(narrow).to eq(["name                            more", "#{"a" * 30}  x", "b\\e[2J#{" " * 24}  y"])
      narrow = on_terminal { terminal.table(%w[name count more], rows) }
      expect(narrow[1]).to eq("#{"a" * 26}…     12  x")
    end
  end

  describe "every verb" do
    it "has help that fits a terminal, with an example that its own options can read" do
      RedisIPC::CLI::Catalog.verbs.each do |verb|
        text = said(*verb.verb.split, "--help").out
        expect(text).to start_with("Usage: redis_ipc #{verb.verb}").and include("Exit status:", "Examples:")
        wide = text[/\A.*?^Examples:/m].lines.reject { |line| line.chomp.size <= 80 }
        expect(wide.map(&:lstrip).grep_v(/\A(Usage|bash|zsh|fish)/)).to be_empty
        verb.examples.each do |line, _|
          words = Shellwords.split(line[/redis_ipc #{verb.verb}([^|&<>)]*)/, 1])
          expect { RedisIPC::CLI::CommandLine.read(verb, words) }.not_to raise_error
        end
      end
      expect(said("--help").out.lines.map(&:chomp)).to all(satisfy { |line| line.size <= 80 && !line.end_with?("…") })
    end

    it "is described in docs/command.md" do
      page = File.read(File.expand_path("../docs/command.md", __dir__))
      verbs = RedisIPC::CLI::Catalog.verbs
      expect(verbs.map(&:verb)).to match_array(page.scan(/^\| `redis_ipc ([a-z]+(?: [a-z]+)?)[^`]*` \|/).flatten)
      expect(verbs.reject { |verb| page.include?("| #{verb.summary} |") }.map(&:verb)).to be_empty
      expect((0..7).reject { |status| page.include?("| #{status} | #{RedisIPC::CLI::ExitStatus.text(status)} |") })
        .to be_empty
    end
  end
end

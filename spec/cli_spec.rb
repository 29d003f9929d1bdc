# frozen_string_literal: true

require "fileutils"
require "net/http"
require "tmpdir"

# `redis_ipc work` without Rails, and what all verbs have in common. spec/rails/operating_spec.rb runs it in an
# application.
RSpec.describe "redis_ipc" do
  include Commands

  let(:folder) { Dir.mktmpdir("redis_ipc_cli") }

  after { FileUtils.remove_entry(folder) }

  def write(name, text)
    File.write(File.join(folder, name), text)
  end

  # Starts the command in the folder.
  def command(*arguments, **environment)
    super(*arguments, folder: folder, **environment)
  end

  # Returns what the command prints until it ends, and its status.
  def ended(*arguments, **environment)
    process = command(*arguments, **environment)
    [process.rest, process.wait.exitstatus]
  end

  def lines(process, count)
    Array.new(count) { process.line }
  end

  def pending
    redis.xpending("orders", "billing")["size"]
  end

  # Writes a channel that returns how many events were handled, and a consumer whose handlers wait for an element of
  # "go".
  def write_application(handler: "wait", words: "threads: 2")
    write("app.rb", <<~RUBY)
      require "redis"

      class HouseChannel < RedisIPC::Channel
        stream "house"
      end

      class Kitchen < HouseChannel
        channel "kitchen"
        event("handled") { Billing::HANDLED.size }
      end

      class ShopEvents < RedisIPC::Events::Consumer
        stream "orders", group: "billing", from: :beginning
        concurrency #{words}
        options lease: 0.5
        def self.say(*words) = $stdout.write(words.join(" ") + "\\n")
      end

      class Billing < ShopEvents
        HANDLED = Queue.new

        def call(event)
          ShopEvents.say("begins", event.data, event.attempt)
          #{handler}
          HANDLED << event.data
          ShopEvents.say("handled", event.data)
        end

        def wait = Redis.new(url: ENV.fetch("REDIS_URL")).blpop("go", timeout: 30)
      end
    RUBY
  end

  describe "work" do
    let(:url) { RedisServer.shared.url }
    let(:started) do
      ["redis_ipc answers house/kitchen (#{url}, 3 threads)", "redis_ipc consumes orders/billing (#{url}, 2 at a time)"]
    end

    it "runs channels and consumers, and ends on TERM: handlers end, the rest is handed back, no event is lost" do
      write_application
      process = command("work", "app.rb")
      expect(lines(process, 2)).to eq(started)
      publish_all(0...20)
      begun = lines(process, 2).map { |line| line[/\d+/].to_i }
      process.kill(:TERM)
      expect(process.line).to eq("redis_ipc ends on SIGTERM: what runs gets 25 s")
      # The channel leaves without waiting for the consumer.
      eventually { redis.zcard("house:instances").zero? }
      2.times { redis.rpush("go", "1") }
      expect(process.rest.lines(chomp: true)).to match_array(begun.map { |number| "handled #{number}" })
      expect(process.wait.exitstatus).to eq(0)

      # Other processes get the rest at once.
      write_application(handler: "")
      other = command("work", "app.rb", "--only", "Billing")
      expect(other.line).to eq(started.last)
      rest = lines(other, 36).grep(/handled/).map { |line| line[/\d+/].to_i }
      expect(rest).to match_array((0...20).to_a - begun)
      eventually { pending.zero? }
      other.kill(:INT)
      expect(other.line).to include("redis_ipc ends on SIGINT")
      expect(other.wait.exitstatus).to eq(0)
    end

    it "answers probes on a port of its own, also while Redis is away" do
      server = start_server
      write_application
      process = command("work", "app.rb", "--probes", "0", "--only", "Billing", REDIS_URL: server.url)
      port = process.line[%r{\Aredis_ipc answers probes on http://127\.0\.0\.1:(\d+)\z}, 1].to_i
      status = ->(path) { Net::HTTP.get_response("127.0.0.1", path, port).code.to_i }
      eventually { status.call("/readyz") == 200 }
      server.kill
      eventually { status.call("/readyz") == 503 }
      expect(status.call("/livez")).to eq(200)
      expect(Net::HTTP.get("127.0.0.1", "/metrics", port)).to match(/^redis_ipc_connected\{.*stream="orders".*\} 0$/)
      taken = TCPServer.new("127.0.0.1", 0)
      expect(ended("work", "app.rb", "--probes", taken.local_address.ip_port.to_s))
        .to match([/\Aredis_ipc: --probes \d+: Address already in use/, 1])
    ensure
      taken&.close
    end

    it "ends at once on a second signal, and others take over what ran" do
      write_application(words: "threads: 1")
      process = command("work", "app.rb", "--only", "Billing")
      process.line
      publish_all(0...1)
      expect(process.line).to eq("begins 0 1")
      # A terminal sends the same signal to the process and to its group at the same moment.
      2.times { process.kill(:INT) }
      expect(process.line).to start_with("redis_ipc ends on SIGINT")
      process.kill(:TERM)
      expect(process.line).to start_with("redis_ipc ends at once on a second SIGTERM")
      expect(process.wait.exitstatus).to eq(1)
      redis.rpush("go", "1")
      other = command("work", "app.rb", "--only", "Billing")
      expect(lines(other, 3).last(2)).to eq(["begins 0 2", "handled 0"])
    end

    it "ends in order with worker processes, too" do
      write_application(words: "processes: 1")
      process = command("work", "app.rb", "--only", "Billing")
      process.line
      publish_all(0...2)
      expect(process.line).to eq("begins 0 1")
      process.kill(:TERM)
      process.line
      redis.rpush("go", "1")
      expect(process.rest).to eq("handled 0\n")
      expect(process.wait.exitstatus).to eq(0)
    end

    it "gives handlers no more than --timeout, and hands back what runs then" do
      write_application(words: "threads: 1")
      process = command("work", "app.rb", "-o", "Billing", "-t", "0.1")
      process.line
      publish_all(0...1)
      expect(process.line).to eq("begins 0 1")
      process.kill(:TERM)
      expect(process.line).to eq("redis_ipc ends on SIGTERM: what runs gets 0.1 s")
      expect(process.wait.exitstatus).to eq(0)
      redis.rpush("go", "1")
      expect(lines(command("work", "app.rb", "-o", "Billing"), 3).last).to eq("handled 0")
    end

    it "pauses consumers on TSTP, until CONT, while channels answer; TTIN prints backtraces" do
      write_application(handler: "")
      process = command("work", "app.rb")
      lines(process, 2)
      process.kill(:TSTP)
      expect(process.line).to start_with("redis_ipc pauses on SIGTSTP")
      publish_all(0...3)
      asker = RedisIPC::Stream.new("house", "asker").connect(redis_options: redis_options)
      expect(asker.send_to_group(content: { event: "handled" }, to: "kitchen").value).to eq(0)
      process.kill(:TTIN)
      said = [process.line]
      said << process.line until said.last.start_with?("redis_ipc thread redis_ipc event worker 2 orders/billing")
      expect(said.first).to eq("redis_ipc thread main run")
      expect(process.line).to match(/\A  .*\.rb:\d+:in /)
      process.kill(:CONT)
      said = [process.line]
      said << process.line until said.grep(/handled/).size == 3
      expect(said).to include("redis_ipc goes on after SIGCONT")
    ensure
      asker&.disconnect
    end

    it "starts consumers paused that are started while it is paused" do
      handled = Queue.new
      late = -> { happens?(within: 0.3) { !handled.empty? } }
      redis = redis_options
      stub_const("ShopEvents", Class.new(RedisIPC::Events::Consumer) do
        stream "orders", group: "billing", from: :beginning
        options redis_options: redis
        define_method(:call) { |event| handled << event.data }
        # Other threads may run before this, so it calls `late` first.
        define_singleton_method(:pause) { |**key| late.call.then { super(**key) } }
      end)
      application = RedisIPC::CLI::RubyFiles.new([], double(info: nil, error: nil))
      application.choose(["ShopEvents"])
      publish_all([0])
      application.pause
      application.start
      expect(ShopEvents).to be_paused
      expect(handled).to be_empty
      application.resume
      expect(next_of(handled)).to eq(0)
    ensure
      ShopEvents.stop
    end

    it "waits for a Redis that is down, and meanwhile runs what needs another Redis" do
      server = start_server
      server.kill
      write_application(handler: "")
      write("more.rb", <<~RUBY)
        class Far < RedisIPC::Events::Consumer
          stream "orders", group: "far"
          options redis_options: { url: "#{server.url}", reconnect_attempts: 0 }
          def call(event) = ShopEvents.say("far", event.data)
        end
      RUBY
      process = command("work", "app.rb", "more.rb")
      said = lines(process, 3)
      expect(said.first(2)).to eq(started)
      expect(said.last).to match(/\Aredis_ipc: .*#{server.port}.*; trying again\z/)
      publish_all(0...1)
      expect(lines(process, 2)).to eq(["begins 0 1", "handled 0"])
      server.start
      expect(process.line).to eq("redis_ipc consumes orders/far (#{server.url}, 5 at a time)")
      process.kill(:TERM)
      process.rest
      expect(process.wait.exitstatus).to eq(0)
    end

    it "runs the others where Redis refuses one, and where one fails" do
      redis.set("text", "no stream")
      write("app.rb", <<~RUBY)
        class Refused < RedisIPC::Events::Consumer
          stream "text", group: "billing"
          def call(_event) = nil
        end
        class Failing < RedisIPC::Events::Consumer
          stream "orders", group: "failing", from: :beginning
          options attempts: 1
          def call(_event) = raise(NoMemoryError, "mine")
        end
        class Billing < RedisIPC::Events::Consumer
          stream "orders", group: "billing", from: :beginning
          def call(event) = $stdout.write("handled \#{event.data}\\n")
        end
      RUBY
      publish_all(0...2)
      process = command("work", "app.rb")
      said = [process.line]
      expected = [/handled 0/, /handled 1/, /dead letter/, /WRONGTYPE.*trying again/]
      said << process.line until expected.all? { |one| said.grep(one).any? }
      expect(said).to include("redis_ipc consumes orders/billing (#{url}, 5 at a time)")
    end

    it "starts nothing, and says why, if one class declares something wrong" do
      write_application
      write("wrong.rb", <<~RUBY)
        class Wrong < RedisIPC::Events::Consumer
          stream "orders", group: "wrong"
          options leese: 1
          def call(_event) = nil
        end
      RUBY
      text, status = ended("work", "app.rb", "wrong.rb")
      expect(text).to match(/\Aredis_ipc: unknown option :leese of start in Wrong;.*\n\z/)
      expect(status).to eq(1)
      expect(redis.keys("*")).to be_empty
    end

    it "starts nothing where two classes have the same group" do
      write_application
      write("copy.rb", <<~RUBY)
        class Copy < RedisIPC::Events::Consumer
          stream "orders", group: "billing"
          def call(_event) = nil
        end
      RUBY
      text, status = ended("work", "app.rb", "copy.rb")
      expect(text).to match(%r{\Aredis_ipc: Billing and Copy consume orders/billing: each would handle part of .*\n\z})
      expect(status).to eq(1)
      expect(redis.keys("*")).to be_empty
    end

    it "names what is missing" do
      expect(ended("work")).to match([/there is nothing to run in .*no Rails application, and no FILES are named/, 1])
      write("empty.rb", "class Base < RedisIPC::Events::Consumer; end")
      expect(ended("work", "empty.rb")).to eq(["redis_ipc: there is nothing to run in empty.rb\n", 1])
      expect(ended("work", "absent.rb")).to eq(["redis_ipc: there is no file absent.rb\n", 1])
      write_application
      expect(ended("work", "app.rb", "--only", "Biling,Kitchen"))
        .to eq(["redis_ipc: --only names Biling, but there are: Billing, Kitchen\n", 1])
      # The message must tell where the error in a file is.
      write("broken.rb", "raise IOError, \"mine\"")
      expect(ended("work", "broken.rb")).to match([/broken\.rb:1.*mine.*IOError/, 1])
    end

    it "loads the given file first, in the given environment" do
      write("setup.rb", "RedisIPC = Module.new unless defined?(RedisIPC)\n$stdout.write(ENV[\"RAILS_ENV\"] + \"\\n\")")
      write("none.rb", "$stdout.write([ENV[\"RACK_ENV\"], defined?(JSON)].join(\" \") + \"\\n\")")
      expect(ended("work", "none.rb", "-r", "./setup.rb", "-r", "json", "-e", "staging").first)
        .to start_with("staging\nstaging constant\n")
    end

    it "runs what the files have started themselves only once" do
      write("app.rb", <<~RUBY)
        RedisIPC::Events.consume(stream: "orders", group: "billing", from: :beginning) do |event|
          $stdout.write("handled \#{event.data}\\n")
        end
      RUBY
      publish_all(0...1)
      process = command("work", "app.rb")
      expect(lines(process, 2)).to contain_exactly("handled 0", %r{\Aredis_ipc consumes orders/billing})
    end
  end

  describe "its usage" do
    it "is shown when it is asked for" do
      expect(said("--version").to_a).to eq([0, "redis_ipc #{RedisIPC::VERSION}\n", ""])
      expect(said("--help").to_a).to match([0, /\AUsage: redis_ipc VERB/, ""])
      expect(said("help", "acl").to_a).to match([0, /\AUsage: redis_ipc acl VERB.*^  acl print /m, ""])
      text = /\AUsage: redis_ipc work \[FILES \.\.\.\].*--timeout SECONDS/m
      expect(said("work", "--help").to_a).to match([0, text, ""])
      expect(said("help", "work")).to eq(said("work", "-h"))
    end

    it "is shown with an error" do
      { [] => "name a verb", ["wrok"] => "there is no verb \"wrok\"; did you mean \"work\"?",
        ["acl"] => "name a verb of acl", %w[acl prnit] => "there is no verb \"acl prnit\"",
        ["work", "--fast"] => "invalid option: --fast",
        ["work", "--timeout", "soon"] => "invalid argument: --timeout soon",
        ["work", "--probes", "here"] => "--probes needs a port, such as 9394 or 0.0.0.0:9394",
        ["work", "--timeout", "-1"] => "--timeout must be at least 0",
        ["work", "--only"] => "missing argument: --only", ["request"] => "GROUP is missing",
        %w[request a 1 b] => "there is no argument \"b\" here",
        %w[completion tcsh] => "SHELL must be one of bash, zsh, fish, got \"tcsh\"",
        %w[request a {b -s house] => "the content is no JSON: \"{b\" (a text needs quotation marks: '\"text\"')" }
        .each do |arguments, wrong|
        told = said(*arguments)
        expect([told.status, told.out, told.err.lines.first]).to match([2, "", "redis_ipc: #{wrong}\n"])
        expect(told.err).to include("\n\n").and include("redis_ipc")
      end
    end
  end
end

# frozen_string_literal: true

require "open3"

RSpec.describe "the consumers of a Rails application", timeout: 120 do
  let(:app) { RailsApp.new }
  let(:url) { RedisServer.shared.url }

  after { app.stop }

  # Each handled event adds an element to the list "got": who has handled it, and its data.
  before { write_consumer("billing", "[1, Process.pid, event.data]") }

  def write_consumer(name, said, group: name, words: "")
    app.write("config/initializers/redis.rb", "require \"redis\"")
    app.write("app/events/application_events.rb", "class ApplicationEvents < RedisIPC::Events::Consumer\nend")
    app.write("app/events/#{name}_events.rb", <<~RUBY)
      class #{name.capitalize}Events < ApplicationEvents
        stream "orders", group: "#{group}", from: :beginning
        retry_on StandardError, wait: 0.2, attempts: 100
        #{words}
        def call(event) = Redis.new.rpush("got", (#{said}).to_json)
      end
    RUBY
    # Rails ignores an edit that makes a file older.
    old = Time.now - 3600
    Dir[File.join(app.folder, "app/events/*.rb")].each { |file| File.utime(old, old, file) }
  end

  def publish(data)
    RedisIPC::Events.publish("orders", data, redis_options: redis_options)
  end

  def got
    key, text = redis.blpop("got", timeout: 20)
    key ? JSON.parse(text) : raise("nothing was handled: #{app.log}")
  end

  def children(pid)
    File.read("/proc/#{pid}/task/#{pid}/children").split.map(&:to_i)
  end

  it "run in each worker of Puma's cluster, not in the parent, and stop with it" do
    puma = app.serve(workers: 2)
    eventually(timeout: 30) { app.log.scan("redis_ipc consumes orders/billing (#{url}, 5 at a time)").size == 2 }
    seen = []
    eventually(timeout: 30) do
      publish(0)
      seen |= [got[1]]
      seen.size == 2
    end
    expect(seen).to match_array(children(puma))
    app.kill(puma, :TERM)
    app.ended(puma)
    eventually(timeout: 30) { redis.xinfo(:consumers, "orders", "billing").empty? }
  end

  it "run by default, with the options of the configuration, inside the executor" do
    app.write("config/initializers/ipc.rb", <<~RUBY)
      Rails.application.config.redis_ipc.consumer_options = { "ApplicationEvents" => { attempts: 1 } }
      Rails.application.config.redis_ipc.log_tags = ["ipc", :destination_group, :id]
      REPORTS = Queue.new
      reports = Class.new {
        def report(error, handled:, context:, **) = REPORTS << [error.class, handled, context]
      }.new
      # Rails has an error reporter from 7.0 on.
      Rails.error.subscribe(reports) if Rails.respond_to?(:error)
      Rails.define_singleton_method(:error) { reports } unless Rails.respond_to?(:error)
    RUBY
    write_consumer("burnt", "raise(KeyError, \"mine\")", words: "retry_on StandardError, attempts: 1")
    told = app.run(<<~RUBY)
      p RedisIPC.consumers.connected?, RedisIPC.channels.connected?
      # All share the Redis of config/redis_ipc.yml.
      id = RedisIPC::Events.publish("orders", { order_id: 7 }, type: "order.created")
      RedisIPC.consumers.start
      p RedisIPC.consumers.connected?, BillingEvents.running?, BurntEvents.running?
      *what, context = Timeout.timeout(10) { REPORTS.pop }
      expected = { stream: "orders", group: "burnt", consumer: "BurntEvents", id: id, type: "order.created", attempt: 1 }
      p what, context.slice(*expected.keys) == expected
      RedisIPC.consumers.stop
      p RedisIPC.consumers.running?, BillingEvents.running?
      lines = File.read("log/production.log").scan(/^.*(?:Handled|consumes).*$/)
      puts lines.map { |line| line.gsub(id, "ID").gsub(/[\\d.]+ms/, "X") }.sort
    RUBY
    handled = "[ipc] [orders] [ID] Handled event order.created ID of"
    expect(told.lines(chomp: true)).to eq(
      ["false", "false", "true", "true", "true", "[KeyError, false]", "true", "false", "false",
       "#{handled} orders/billing, attempt 1 in X",
       "#{handled} orders/burnt, attempt 1 in X, which failed with KeyError: dead",
       *%w[billing burnt].map { |group| "redis_ipc consumes orders/#{group} (#{url}, 5 at a time)" }]
    )
  end

  it "are checked before any process starts one: a server does not boot with a wrong one" do
    write_consumer("wrong", "1", words: "concurrency threads: 0")
    said = app.run(<<~RUBY).lines(chomp: true)
      say = lambda do |way|
        RedisIPC.consumers.public_send(way)
      rescue RedisIPC::ConfigurationError => e
        puts e.message
      end
      %i[run_here run_in_children].each(&say)
      ENV.update("REDIS_IPC_CONSUME" => "maybe", "REDIS_IPC_CONSUMERS" => "BilingEvents")
      say.(:way)
      say.(:start)
    RUBY
    expect(said).to match(
      [*[/\AWrongEvents: threads: of concurrency must be a whole number/] * 2, /\Athe option consume must be auto/,
       /names BilingEvents, but there are: ApplicationEvents, BillingEvents, WrongEvents/]
    )
    expect(redis.exists?("orders")).to be(false)
  end

  describe "under `redis_ipc work`" do
    it "run with the channels, once, whatever the placement; TERM ends them in order" do
      pid = app.work_by_command("--only", "WebIpc,BillingEvents", REDIS_IPC_CONNECT: "true")
      lines = ["redis_ipc answers shop/web (#{url}, 3 threads)",
               "redis_ipc consumes orders/billing (#{url}, 5 at a time)"]
      eventually(timeout: 30) { app.printed.lines.size >= 2 }
      publish(7)
      expect(got).to eq([1, pid, 7])
      expect(app.outside.trigger_event("version", target: "web").value).to eq(1)
      app.kill(pid, :TSTP)
      eventually { app.printed.include?("pauses") }
      app.kill(pid, :TERM)
      expect(app.ended(pid)).to be_success
      expect(app.printed.lines(chomp: true)).to eq(
        [*lines, "redis_ipc pauses on SIGTSTP: consumers take no more events until SIGCONT",
         "redis_ipc ends on SIGTERM: what runs gets 25 s"]
      )
      # The log file contains it, too.
      expect(app.log).to include(*lines.map { |line| "#{line}\n" })
      expect(redis.xinfo(:consumers, "orders", "billing")).to be_empty
      expect(app.members).to eq("outside" => [Process.pid])
    end
  end

  context "when code is reloaded" do
    let(:app) { RailsApp.new(environment: "development") }

    it "run the current code: changed, broken, repaired, with another group, new and removed" do
      pid = app.work_by_command
      eventually(timeout: 30) { app.printed.include?("consumes") }
      publish(0)
      expect(got.first).to eq(1)

      app.edit("app/events/billing_events.rb", "[1,", "[2,")
      publish(1)
      expect(got.values_at(0, 2)).to eq([2, 1])

      # A class that cannot be loaded handles no events, and no event is given up on.
      app.edit("app/events/billing_events.rb", "def call", "def call(")
      eventually(timeout: 20) { app.log.include?("the consumers cannot be loaded: SyntaxError") }
      publish(2)
      app.edit("app/events/billing_events.rb", "def call(", "def call")
      app.edit("app/events/billing_events.rb", "[2,", "[3,")
      expect(got.values_at(0, 2)).to eq([3, 2])

      # Another number of threads requires a restart of the consumer.
      app.edit("app/events/billing_events.rb", "retry_on", "concurrency threads: 1\n  retry_on")
      eventually(timeout: 20) { app.printed.include?("consumes orders/billing (#{url}, 1 at a time)") }

      # Worker processes run the new code, too, and start nothing by themselves.
      app.edit("app/events/billing_events.rb", "threads: 1", "processes: 1")
      eventually(timeout: 20) { app.printed.scan("consumes orders/billing (#{url}, 1 at a time)").size == 2 }
      eventually(timeout: 20) { publish(3) && got[1] != pid }
      app.edit("app/events/billing_events.rb", "[3,", "[4,")
      app.edit("app/events/billing_events.rb", "event.data]", "event.data, Thread.list.map(&:name).grep(/reporter/)]")
      handled = nil
      eventually(timeout: 20) { publish(3) && (handled = got).size == 4 }
      expect(handled.values_at(0, 3)).to eq([4, []])
      app.edit("app/events/billing_events.rb", "group: \"billing\"", "group: \"accounts\"")
      eventually(timeout: 20) { app.printed.include?("consumes orders/accounts") }
      eventually(timeout: 20) { got.values_at(0, 2) == [4, 0] }
      expect(app.printed).to include("redis_ipc consumes orders/billing no more")

      write_consumer("other", "[\"other\", Process.pid, event.data]")
      eventually(timeout: 20) { got.first == "other" }
      FileUtils.rm(File.join(app.folder, "app/events/other_events.rb"))
      eventually(timeout: 20) { app.printed.include?("redis_ipc consumes orders/other no more") }
      publish(5)
      eventually(timeout: 20) { got.values_at(0, 2) == [4, 5] }
      expect(redis.keys("*dead*")).to be_empty
    end
  end
end

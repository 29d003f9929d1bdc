# frozen_string_literal: true

require "open3"

RSpec.describe "operating a Rails application", timeout: 200 do
  let(:app) { RailsApp.new }

  after { app.stop }

  def write_kitchen(events = "event(\"cook\") { \"done\" }")
    app.write("app/ipc/kitchen_ipc.rb", "class KitchenIpc < ApplicationIpc\nchannel \"kitchen\"\n#{events}\nend\n")
  end

  # Returns what the processes have printed.
  def printed
    File.read(File.join(app.folder, "output"))
  end

  describe "the message about answering" do
    it "says what it answers, where and with how many threads: in the log, with `redis_ipc work` on standard output" do
      worker = app.work("WorkerIpc")
      line = "redis_ipc answers shop/worker (#{RedisServer.shared.url}, 3 threads)"
      eventually(timeout: 90) { printed.include?("#{line}\n") }
      # The log file contains it, too.
      expect(app.log.scan(line).size).to eq(2)
      app.kill(worker, :TERM)
      expect(app.ended(worker)).to be_success
      expect(printed.lines(chomp: true)).to eq([line, "redis_ipc ends on SIGTERM: what runs gets 25 s"])
    end

    it "is printed once if the log goes to standard output" do
      app.write("config/initializers/log.rb", "Rails.logger = ActiveSupport::TaggedLogging.new(Logger.new($stdout))\n")
      worker = app.work("WorkerIpc")
      eventually(timeout: 90) { printed.include?("answers shop/worker") }
      app.kill(worker, :TERM)
      app.ended(worker)
      expect(printed.scan("redis_ipc answers").size).to eq(1)
    end

    it "is missing if it only asks" do
      app.serve(workers: 0)
      script = 'WebIpc.trigger_event("version", target: "web"); puts File.read("log/production.log")'
      expect(app.run(script).scan(/redis_ipc answers (\S+)/)).to eq([["shop/web"]])
    end

    it "says that Redis is down, not at every attempt, and then that it answers" do
      server = start_server
      server.kill
      alone = RailsApp.new(REDIS_URL: server.url)
      alone.work("WorkerIpc")
      said = -> { File.exist?(file = File.join(alone.folder, "output")) ? File.read(file) : "" }
      eventually(timeout: 90) { said.call.include?("trying again") }
      expect(said.call).to match(/\Aredis_ipc: .*#{server.port}.*; trying again$/)
      server.start
      eventually(timeout: 90) { said.call.include?("redis_ipc answers shop/worker (#{server.url}, 3 threads)") }
    ensure
      alone&.stop
    end
  end

  describe "a Redis of its own for a channel" do
    let(:second) { start_server }

    def configure(text)
      app.edit("config/redis_ipc.yml", "  channels: [\"WebIpc\"]\n",
               "  channels: [WebIpc, KitchenIpc, WorkerIpc]\n#{text}")
    end

    it "is that of config.redis_ipc.channel_options as a whole; other options are as for all" do
      write_kitchen
      options = "{ redis_options: { path: #{second.path} }, consumer: { pool_size: 2 } }"
      configure("  channel_options: { KitchenIpc: #{options} }\n")
      told = app.run(<<~RUBY)
        RedisIPC.channels.connect
        puts File.read("log/production.log").scan(/redis_ipc answers (.*)/).sort
        p KitchenIpc.instances.map { |row| row[:group] }, WebIpc.instances.map { |row| row[:group] }.sort
        p KitchenIpc.trigger_event("cook", target: "kitchen").value!, RedisIPC.channels.connected?
      RUBY
      expect(told.lines(chomp: true)).to eq(
        ["shop/kitchen (unix://#{second.path}?db=0, 2 threads)", "shop/web (#{RedisServer.shared.url}, 3 threads)",
         "shop/worker (#{RedisServer.shared.url}, 3 threads)", '["kitchen"]', '["web", "worker"]', '"done"', "true"]
      )
    end

    it "is inherited, and does not delay the others while it is down" do
      write_kitchen
      app.write("app/ipc/far_ipc.rb", "class FarIpc < ApplicationIpc; end")
      app.edit("app/ipc/worker_ipc.rb", "< ApplicationIpc", "< FarIpc")
      app.write("config/initializers/ipc.rb", <<~RUBY)
        Rails.application.config.redis_ipc.channel_options = { "FarIpc" => { redis_options: { path: "#{second.path}" } } }
      RUBY
      configure("")
      second.kill
      telling = Thread.new { app.run(<<~RUBY) }
        RedisIPC.channels.connect
        p [KitchenIpc, WebIpc, WorkerIpc].map(&:connected?), RedisIPC.channels.connected?
        puts WebIpc.trigger_event("version", target: "web").value!
        File.write("ready", "")
        Timeout.timeout(60) { sleep 0.05 until WorkerIpc.connected? }
        puts File.read("log/production.log").scan(/redis_ipc answers (.*)/).last
      RUBY
      eventually(timeout: 60) { File.exist?(File.join(app.folder, "ready")) || !telling.alive? }
      second.start
      expect(telling.value.lines(chomp: true)).to eq(
        ["[true, true, false]", "false", "1", "shop/worker (unix://#{second.path}?db=0, 3 threads)"]
      )
    end

    it "must be given with an existing class, and existing options" do
      say = lambda do |code|
        app.run(code)
      rescue RuntimeError => e
        e.message
      end
      app.write("config/initializers/ipc.rb", <<~RUBY)
        Rails.application.config.redis_ipc.channel_options = { KitschenIpc: { redis_options: { password: "hunter2" } } }
      RUBY
      said = say.call("RedisIPC.channels.connect")
      expect(said).to include("RedisIPC::ConfigurationError",
                              "the option channel_options names KitschenIpc, but there are:")
      app.write("config/initializers/ipc.rb", <<~RUBY)
        Rails.application.config.redis_ipc.channel_options = { WebIpc: "redis://:hunter2@localhost" }
      RUBY
      expect(said = say.call("")).to include("RedisIPC::ConfigurationError", "the option channel_options must")
      expect(said).not_to include("hunter2")
    end
  end

  describe "params that an event does not list" do
    look = "p RedisIPC::Channel.action_on_unlisted_params"

    it "are logged in development and tests, not in production, or as the application configures" do
      databases = File.join(app.folder, "config/database.yml")
      File.write(databases, "\ntest: { adapter: sqlite3, database: x }\n", mode: "a")
      expect(%w[development test production].map { |name| app.run(look, RAILS_ENV: name) }.map(&:chomp))
        .to eq(%w[:log :log false])
      app.write("config/initializers/ipc.rb",
                "Rails.application.config.redis_ipc.action_on_unlisted_params = \"raise\"")
      expect(app.run(look)).to eq(":raise\n")
      app.write("config/initializers/ipc.rb", "Rails.application.config.redis_ipc.action_on_unlisted_params = :ignore")
      expect do
        app.run(look)
      end.to raise_error(/action_on_unlisted_params must be false, log or raise.*ConfigurationError/)
    end
  end

  describe "the rake tasks" do
    # Returns what the tasks print, one after the other, with their arguments; also what they raise.
    def rake(*calls)
      app.run(<<~RUBY)
        Rails.application.load_tasks
        #{calls.inspect}.each do |name, *arguments|
          Rake::Task[name].reenable
          Rake::Task[name].invoke(*arguments)
        rescue RedisIPC::Error => e
          puts "\#{e.class}: \#{e.message}"
        end
      RUBY
    end

    # Leaves requests that nobody could run. Returns their ids as dead letters.
    def kill_requests(*ids)
      fields = { instance_id: "gone", status: "pending", content: '{"event":"cook","params":{"card":"4711"}}',
                 source_group: "gone", destination_group: "kitchen", reply_to: "shop:replies:gone:gone", ttl: 30_000,
                 dead_id: "1-1", dead_reason: "delivered\ntoo often", dead_deliveries: 6, dead_at: 1_700_000_000_000 }
      ids.map { |id| redis.xadd("shop:dead:kitchen", { id: id, **fields }) }
    end

    before { write_kitchen }

    it "show who is alive, without a trace of themselves" do
      app.serve(workers: 0)
      told = rake(["redis_ipc:instances"]).lines(chomp: true)
      pid = app.members["web"].first
      time = '\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC'
      expect(told).to match(["shop: 1 alive", /\A  web pid #{pid} on \S+, seen #{time}, instance \h{32}\z/])
      expect(app.members.keys).to eq(["web"])
      expect(redis.keys("*tasks*")).to be_empty
    end

    it "show dead letters without what was sent, and refuse no request meanwhile" do
      ids = kill_requests("1", "2")
      # Nobody answers now. The request waits for an instance that comes later.
      app.outside.async_trigger_event("cook", target: "kitchen", timeout: 120)
      eventually { redis.xlen("shop:inbox:kitchen") == 1 }
      what = 'from gone, delivered 6 times, died 2023-11-14 22:13:20 UTC: "delivered\ntoo often"'
      expect(rake(["redis_ipc:dead_letters"]).lines(chomp: true)).to start_with(
        "KitchenIpc (shop/kitchen): 2 dead letters", *ids.map { |id| "  #{id} #{what}" },
        "WebIpc (shop/web): 0 dead letters", "WorkerIpc (shop/worker): 0 dead letters"
      )
      expect(redis.xlen("shop:inbox:kitchen")).to eq(1)
    end

    it "retry or discard them, one or all, and list what there is" do
      first, = kill_requests("1", "2", "3")
      one = ["redis_ipc:dead_letters:discard", "KitchenIpc", first]
      retries = ["redis_ipc:dead_letters:retry"]
      known = /\ARedisIPC::ConfigurationError: name a channel, one of: .*KitchenIpc, WebIpc, WorkerIpc\z/
      expect(rake(one, one, [*retries, "Kitchen"], retries, [*retries, "KitchenIpc"]).lines(chomp: true)).to match(
        ["KitchenIpc: 1 dead letter discarded", "RedisIPC::ConfigurationError: KitchenIpc has no dead letter #{first}",
         known, known, "KitchenIpc: 2 dead letters tried again"]
      )
      expect(redis.xlen("shop:dead:kitchen")).to eq(0)
      expect(redis.xrange("shop:inbox:kitchen").map { |_, fields| fields["id"] }).to eq(%w[2 3])
    end
  end
end

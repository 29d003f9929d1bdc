# frozen_string_literal: true

require "open3"

RSpec.describe "the processes of a Rails application that answer", timeout: 200 do
  let(:app) { RailsApp.new }

  after { app.stop }

  def children(pid)
    File.read("/proc/#{pid}/task/#{pid}/children").split.map(&:to_i)
  end

  def answerers(count)
    Array.new(count) { app.outside.trigger_event("confirm", target: "web", timeout: 20).value[:pid] }.uniq
  end

  # Writes a channel whose event waits until "go" has an element.
  def write_slow_channel
    app.write("app/ipc/slow_ipc.rb", <<~RUBY)
      require "redis"
      class SlowIpc < ApplicationIpc
        channel "slow"
        event("wait") do
          redis = Redis.new
          redis.rpush("begun", "1")
          redis.blpop("go", timeout: 40)
          "done"
        end
      end
    RUBY
  end

  context "when `rails server` starts Puma's cluster with preload_app!" do
    it "are its workers with connect: :in_children" do
      puma = app.serve_by_rails(REDIS_IPC_CONNECT: "in_children")
      expect(app.members["web"]).to match_array(children(puma))
      expect(children(puma).size).to eq(2)
      expect(answerers(100) - children(puma)).to be_empty

      # This also holds for children that come later.
      app.kill(dead = children(puma).first, :KILL)
      fresh = eventually(timeout: 30) { (children(puma) - [dead]).then { |pids| pids if pids.size == 2 } }
      eventually(timeout: 30) { (app.members["web"] - [dead]).sort == fresh.sort }
      expect(app.get("/itself")).to eq(value: 1)
    end

    it "are the parent and its workers with connect: :auto, as the docs say" do
      puma = app.serve_by_rails
      eventually(timeout: 30) { app.members["web"].sort == [puma, *children(puma)].sort }
    end
  end

  it "include children of a parent that has asked: once each" do
    rows = app.run(<<~RUBY, REDIS_IPC_CHANNELS: "WebIpc", REDIS_IPC_CONNECT: "in_children")
      begin
        WebIpc.trigger_event("version", target: "web", timeout: 0.1)
      rescue RedisIPC::TimeoutError
        nil
      end
      RedisIPC.channels.run_in_children
      pid = fork do
        WebIpc.trigger_event("version", target: "web", timeout: 20)
        sleep 0.01 until WebIpc.connected?
        sleep 0.3
        puts WebIpc.instances.map { |row| row[:pid] }.inspect, [Process.ppid, Process.pid].inspect
        $stdout.flush
        exit!
      end
      Process.wait(pid)
    RUBY
    found, expected = rows.lines.map { |line| JSON.parse(line) }
    expect(found).to match_array(expected)
  end

  it "are Sidekiq's, from its start to its end" do
    app.write("config/initializers/redis.rb", "require \"redis\"")
    app.write("app/models/ask_job.rb", <<~RUBY)
      class AskJob
        include Sidekiq::Worker
        def perform(key)
          value = WebIpc.trigger_event("version", target: "web").value
          Redis.new.rpush(key, value.to_s)
        end
      end
    RUBY
    app.write("app/events/log_events.rb", <<~RUBY)
      class LogEvents < RedisIPC::Events::Consumer
        stream "orders", group: "log", from: :beginning
        def call(event) = Redis.new.rpush("logged", event.data.to_s)
      end
    RUBY
    RedisIPC::Events.publish("orders", 7, redis_options: redis_options)
    write_slow_channel
    sidekiq = app.work_by_sidekiq("WebIpc,SlowIpc")
    eventually(timeout: 30) { app.members.keys.sort == %w[slow web] }
    expect(answerers(1)).to eq([sidekiq])
    expect(redis.blpop("logged", timeout: 20)).to eq(%w[logged 7]), app.log

    # A job asks, too.
    job = { class: "AskJob", args: ["answers"], jid: "1" * 24, queue: "default", retry: false,
            created_at: Time.now.to_f }
    redis.call("SADD", "queues", "default")
    redis.lpush("queue:default", JSON.generate(job))
    expect(redis.blpop("answers", timeout: 20)).to eq(%w[answers 1]), app.log

    # A request that is running when the process is told to end is answered.
    future = app.outside.async_trigger_event("wait", target: "slow", timeout: 30)
    redis.blpop("begun", timeout: 20)
    app.kill(sidekiq, :TERM)
    eventually(timeout: 20) { !app.members.key?("web") && redis.xinfo(:consumers, "orders", "log").empty? }
    redis.rpush("go", "1")
    expect(future.value).to eq("done")
    expect(app.ended(sidekiq)).to be_success
    expect(app.members).to eq("outside" => [Process.pid])
  end

  it "leave all groups at once when they end, not one after the other" do
    write_slow_channel
    app.edit("config/redis_ipc.yml", "channels: [\"WebIpc\"]", "channels: [SlowIpc, WebIpc]\n  shutdown_timeout: 40")
    puma = app.serve(workers: 0)
    future = app.outside.async_trigger_event("wait", target: "slow", timeout: 50)
    redis.blpop("begun", timeout: 20)
    app.kill(puma, :TERM)
    eventually(timeout: 20) { !app.members.key?("web") }
    redis.rpush("go", "1")
    expect(future.value).to eq("done")
    app.ended(puma)
    expect(app.members).to eq("outside" => [Process.pid])
  end

  it "boot while Redis is down, serve, and connect when it is up" do
    server = start_server
    server.kill
    alone = RailsApp.new(REDIS_URL: server.url)
    alone.serve_alone
    expect(alone.get("/state")).to include(connected: false)
    # A request that needs Redis fails at once.
    expect { alone.get("/itself") }.to raise_error(/500 RedisIPC::ConnectionError/)
    expect(alone.log).to match(/redis_ipc: .*#{server.port}.*; trying again/)

    server.start
    eventually(timeout: 20, every: 0.05) { alone.get("/state")[:connected] }
    expect(alone.get("/itself")).to eq(value: 1)
  ensure
    alone&.stop
  end
end

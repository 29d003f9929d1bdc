# frozen_string_literal: true

require "open3"

RSpec.describe "Puma's plugin :redis_ipc", timeout: 400 do
  let(:app) { RailsApp.new(REDIS_IPC_CHANNELS: "SlowIpc,WebIpc") }

  before do
    app.edit("config/redis_ipc.yml", "channels:", "shutdown_timeout: 60\n  channels:")
    app.edit("config/puma.rb", "worker_shutdown_timeout 20", "worker_shutdown_timeout 90")
    app.write("config/initializers/redis.rb", "require \"redis\"")
    # "wait" waits until "go" has an element. `life` identifies the process that answers. The pid alone would not do,
    # because exec keeps it; nor would the constant, because fork keeps that.
    app.write("app/ipc/slow_ipc.rb", <<~RUBY)
      class SlowIpc < ApplicationIpc
        channel "slow"
        LIFE = SecureRandom.hex
        def self.life = "\#{LIFE} \#{Process.pid}"
        event("nap") { sleep(0.05) && SlowIpc.life }
        event("wait") do
          redis = Redis.new
          redis.rpush("begun", SlowIpc.life)
          redis.blpop("go", timeout: 60)
          "done by \#{SlowIpc.life}"
        end
      end
    RUBY
    app.write("app/events/log_events.rb", <<~RUBY)
      class LogEvents < RedisIPC::Events::Consumer
        stream "orders", group: "log", from: :beginning
        def call(event) = sleep(0.005) && Redis.new.rpush("logged", event.data)
      end
    RUBY
    app.write("app/controllers/waits_controller.rb", <<~RUBY)
      class WaitsController < ActionController::API
        def show
          redis = Redis.new
          redis.rpush("http", "begun")
          redis.blpop("http go", timeout: 60)
          render json: { value: WebIpc.trigger_event("version", target: "other").value! }
        end
      end
    RUBY
    app.edit("config/routes.rb", "get \"ask\"", "get \"wait\", to: \"waits#show\"\n  get \"ask\"")
  end

  after { app.stop }

  def ask(event, group: "slow", timeout: 90)
    app.outside.async_trigger_event(event, target: group, timeout: timeout)
  end

  # Starts `count` events that wait. Returns their futures, and the programs that run them.
  def begin_waiting(count)
    futures = Array.new(count) { ask("wait") }
    [futures, Array.new(count) { redis.blpop("begun", timeout: 30).last }]
  end

  # Publishes `count` events.
  def publish(count)
    RedisIPC::Events.publish_all("orders", (1..count).map { |number| { data: number } }, redis_options: redis_options)
  end

  # For each way to restart Puma: its settings, the signal, and what it prints when it begins.
  restarts = {
    "USR2 in single mode" => [{ workers: 0 }, :USR2, "* Restarting..."],
    "USR2 in cluster mode" => [{ preload: false }, :USR2, "Gracefully shutting down workers"],
    "USR2 in cluster mode with preload_app!" => [{ preload: true }, :USR2, "Gracefully shutting down workers"],
    "`bin/rails restart`" => [{ workers: 0 }, "tmp/restart.txt", "* Restarting..."],
    "USR1, a phased restart" => [{ preload: false }, :USR1, "for phased upgrade"],
    # The first worker goes on answering while forks of it replace the others. Puma 8 calls that "refork".
    "URG, with fork_worker" => [{ preload: false, fork_worker: true }, :URG, /for (phased upgrade|refork)/]
  }
  restarts.each do |what, (puma, how, begins)|
    it "lets requests under way end and loses none: #{what}" do
      pid = app.serve(**puma)
      futures, old = begin_waiting(2)
      stop = app.keep_asking { ask("nap").value! }
      publish(200)
      how.is_a?(Symbol) ? app.kill(pid, how) : app.write(how, "")
      eventually(timeout: 60) { app.log[begins] }
      2.times { redis.rpush("go", "1") }
      expect(futures.map(&:value!)).to match_array(old.map { |life| "done by #{life}" })
      eventually(timeout: 120, every: 0.1) { !old.include?(ask("nap").value!) }
      answers = stop.call
      expect(answers).not_to be_empty
      expect(answers.grep(Exception).map(&:message)).to be_empty
      eventually(timeout: 30) { redis.lrange("logged", 0, -1).uniq.size == 200 }
      eventually(timeout: 30) { redis.xpending("orders", "log")["size"].zero? }
    end
  end

  it "takes no more requests once Puma stops, while HTTP requests, which may ask, end" do
    other = app.outside
    server = RedisIPC::Stream.new("shop", "other")
    server.on_request { |entry| fulfill_request(entry, content: "other") }
    server.connect(redis_options: { path: RedisServer.shared.path })
    puma = app.serve(workers: 0)
    (future,), = begin_waiting(1)
    http = Thread.new { app.get("/wait") }
    redis.blpop("http", timeout: 30)
    app.kill(puma, :TERM)

    # No worker takes the request.
    eventually(timeout: 20) do
      ask("nap", timeout: 0.5).value!
      false
    rescue RedisIPC::TimeoutError => e
      e.outcome == :unclaimed
    end
    # What was taken before finishes, and so does what an HTTP request asks.
    redis.rpush("go", "1")
    expect(future.value!).to start_with("done by")
    redis.rpush("http go", "1")
    expect(http.value).to eq(value: "other")
    app.ended(puma)
    expect(app.members).to eq("outside" => [Process.pid], "other" => [Process.pid])
    expect(other).to be_connected
  ensure
    server&.disconnect
  end
end

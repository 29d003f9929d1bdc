# frozen_string_literal: true

require "open3"

RSpec.describe "a Rails application under Phusion Passenger", timeout: 300 do
  let(:app) { RailsApp.new(REDIS_IPC_CHANNELS: "SlowIpc,WebIpc") }

  before do
    skip "Phusion Passenger is not installed" unless RailsApp.passenger?

    app.edit("config/redis_ipc.yml", "channels:", "shutdown_timeout: 60\n  channels:")
    app.write("config/initializers/redis.rb", "require \"redis\"")
    app.write("app/ipc/slow_ipc.rb", <<~RUBY)
      class SlowIpc < ApplicationIpc
        channel "slow"
        event("nap") { sleep(0.05) && Process.pid }
        event("wait") do
          redis = Redis.new
          redis.rpush("begun", Process.pid)
          redis.blpop("go", timeout: 60)
          "done by \#{Process.pid}"
        end
      end
    RUBY
  end

  after { app.stop }

  # Returns the kind of a process, from its title: "Passenger RubyApp: ..." or "Passenger AppPreloader: ...".
  def kind(pid)
    File.read("/proc/#{pid}/cmdline")[/\APassenger (\w+)/, 1]
  end

  def ask(event)
    app.outside.async_trigger_event(event, target: "slow", timeout: 60)
  end

  it "answers from its workers, not from the preloader, and loses nothing when it is restarted" do
    app.serve_by_passenger
    old = app.members.fetch("slow")
    expect(old.map { |pid| kind(pid) }).to eq(%w[RubyApp RubyApp])

    running = Array.new(2) { ask("wait") }
    runners = Array.new(2) { redis.blpop("begun", timeout: 30).last }
    stop = app.keep_asking { ask("nap").value! }
    app.restart_by_passenger
    # The old processes are about to end, and have left the group already.
    eventually(timeout: 60) do
      (app.members.fetch("web", []) & old).empty? && (app.members.fetch("slow", []) & old).any?
    end
    2.times { redis.rpush("go", "1") }
    expect(running.map(&:value!)).to match_array(runners.map { |pid| "done by #{pid}" })
    eventually(timeout: 90, every: 0.1) { !old.include?(ask("nap").value!) }
    answers = stop.call
    expect(answers).not_to be_empty
    expect(answers.grep(Exception).map(&:message)).to be_empty
    eventually(timeout: 30) { (app.members.fetch("slow") & old).empty? }
    expect(app.get("/itself")).to eq(value: 1)
  end

  it "answers without a preloader, too" do
    app.serve_by_passenger(spawn_method: "direct", processes: 1)
    expect(app.members.fetch("slow").map { |pid| kind(pid) }).to eq(["RubyApp"])
    expect(ask("nap").value!).to eq(app.members.fetch("slow").first)
  end
end

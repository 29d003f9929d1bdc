# frozen_string_literal: true

require "open3"

RSpec.describe "a Rails application in production", timeout: 300 do
  let(:app) { RailsApp.new }

  after { app.stop }

  def children(pid)
    File.read("/proc/#{pid}/task/#{pid}/children").split.map(&:to_i)
  end

  def puma_ends_its_workers?
    Gem::Specification.find_by_name("puma").version < Gem::Version.new("6")
  end

  def ask(number)
    app.get("/ask?number=#{number}")
  end

  def await_members(group, count)
    eventually(timeout: 30) { app.members.fetch(group, []).size == count }
  end

  context "when served by Puma's cluster with preload_app!" do
    it "goes from web to worker and back, a thousand times, without an error" do
      puma = app.serve
      worker = app.work
      await_members("worker", 1)
      results = app.get_all(1..1000) { |number| ask(number) }

      expect(results.grep(Exception)).to be_empty
      webs = children(puma)
      expect(results.map { |result| result[:pid] }.uniq).to match_array(webs)
      answers = results.map { |result| result[:worker] }
      expect(answers.map { |answer| answer[:pid] }.uniq).to eq([worker])
      expect(answers.map { |answer| answer[:confirmed][:pid] }.uniq).to match_array(webs)
      # Each handler began with empty CurrentAttributes, and ran once.
      expect(answers.map { |answer| [answer[:leaked], answer[:visits]] }.uniq).to eq([[nil, 1]])
      expect(answers.map { |answer| answer[:confirmed][:number] }).to match_array((1..1000).map(&:to_s))

      # The parent only forks, and no handler kept a database connection.
      expect(app.members.values.flatten).to match_array(webs + [worker])
      expect(app.get("/state")).to include(busy: 0, connected: true)
      expect(app.log).to match(/\[redis_ipc\] \[worker\] \[\h{32}\] \[[\h-]{36}\] Handled work for web in [\d.]+ms/)
    end

    it "does not notice that a worker process is killed" do
      app.serve
      workers = [app.work, app.work]
      await_members("worker", 2)
      answered = Queue.new
      killer = Thread.new do
        60.times { next_of(answered, timeout: 60) }
        app.kill(workers.first, :KILL)
      end
      results = app.get_all(1..300) { |number| ask(number).tap { answered << number } }
      killer.join

      expect(results.grep(Exception).map(&:message)).to be_empty
      after = results.map { |result| result[:worker][:pid] }
      expect(after.uniq).to match_array(workers)
    end

    it "answers and asks from the Puma worker that replaces a dead one" do
      puma = app.serve
      app.work
      await_members("worker", 1)
      dead = children(puma).first
      app.kill(dead, :KILL)
      fresh = eventually(timeout: 30) { (children(puma) - [dead]).then { |pids| pids if pids.size == 2 } }
      eventually(timeout: 30) { (fresh - app.members["web"]).empty? }
      seen = []
      eventually(timeout: 30) do
        result = ask(1)
        seen |= [[:asks, result[:pid]], [:answers, result[:worker][:confirmed][:pid]]]
        (fresh.product(%i[asks answers]).map(&:reverse) - seen).empty?
      end
    end

    it "finishes running requests when told to end, and takes no more" do
      puma = app.serve
      worker = app.work
      await_members("worker", 1)
      answered = Queue.new
      results = Thread.new { app.get_all(1..200) { |number| ask(number).tap { answered << number } } }
      20.times { next_of(answered, timeout: 60) }
      app.kill(worker, :TERM)
      second = app.work
      expect(app.ended(worker)).to be_success
      expect(results.value.grep(Exception)).to be_empty
      expect(results.value.map { |result| result[:worker][:pid] }.uniq - [worker, second]).to be_empty
      app.kill(puma, :TERM)
      app.ended(puma)
      # Workers of Puma 6.6 on Ruby 3.3.8 often hang when they close their socket, even without this gem, and are
      # killed.
      expect(app.members).to eq({ "worker" => [second] }), app.log if puma_ends_its_workers?
    end
  end

  it "loses no request in a phased restart" do
    puma = app.serve(preload: false)
    app.work
    await_members("worker", 1)
    before = children(puma)
    stop = false
    asking = Thread.new { app.get_all(1..100_000, enough: -> { stop }) { |number| ask(number) } }
    app.kill(puma, :USR1)
    eventually(timeout: 60) { (children(puma) & before).empty? && (children(puma) - app.members["web"]).empty? }
    stop = true
    results = asking.value
    expect(results.grep(Exception)).to be_empty
    expect(results.size).to be > 20
  end

  it "runs JSON-RPC methods inside the executor, each by itself" do
    told = app.run(<<~RUBY).lines(chomp: true)
      server = RedisIPC::JSONRPC::Server.new("shop_rpc", threads: 1)
      server.on("visit") { |number| Current.number.tap { Visit.record(Current.number = number) } }
      server.on("visits") { Visit.order(:number).select(:number) }
      server.on("fail") { raise KeyError, Current.number.inspect }
      server.on_error { |error| puts "\#{error.message}, \#{Thread.current[:reported] = Current.number = 1}" }
      server.connect
      client = RedisIPC::JSONRPC::Client.new("shop_rpc").connect
      p client.batch { |batch| 3.times { |number| batch.call("visit", number) } }
      client.batch { |batch| 2.times { batch.call("fail") } }
      # The result queries the database while it is encoded.
      p client.call("visits").map { |visit| visit[:number] }
      p ActiveRecord::Base.connection_pool.stat[:busy], Visit.count
    RUBY
    expect(told).to eq(["[nil, nil, nil]", "nil, 1", "nil, 1", "[0, 1, 2]", "0", "3"])
    expect(app.log).to match(/\[redis_ipc\] \[1\] Handled visit of shop_rpc in [\d.]+ms/)
    expect(app.log).to match(/Rejected fail of shop_rpc with KeyError in [\d.]+ms/)
  end

  it "does not connect in consoles, tasks and scripts; a channel that is used there connects only to ask" do
    app.serve(workers: 0)
    serves = "p RedisIPC.const_get(:ChannelState).of(WebIpc).serves?"
    asks = 'p RedisIPC.channels.connected?; p WebIpc.trigger_event("version", target: "web").value'
    expect(app.run("#{asks}; #{serves}").split).to eq(%w[false 1 false])
    expect(app.run("p RedisIPC.channels.connected?", REDIS_IPC_CONNECT: true)).to eq("true\n")
    expect(app.run("p RedisIPC.channels.connect.connected?; #{serves}").split).to eq(%w[true true])
  end
end

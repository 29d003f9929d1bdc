# frozen_string_literal: true

require "open3"

RSpec.describe "a Rails application in development", timeout: 300 do
  let(:app) { RailsApp.new(environment: "development") }

  after { app.stop }

  def version(group: "web")
    # Only the request itself makes the server check for changes.
    app.outside.trigger_event("version", target: group, timeout: 20)
  end

  it "answers with the current code, without a restart" do
    app.serve(workers: 0)
    expect(version.value).to eq(1)

    app.edit("app/ipc/web_ipc.rb", "{ 1 }", "{ 2 }")
    expect(version.value).to eq(2)
    expect(app.get("/itself")).to eq(value: 2)

    # The asker gets the error of a broken file, and the server goes on.
    app.edit("app/ipc/web_ipc.rb", "{ 2 }", "{ 2 ")
    expect(version.error).to eq("SyntaxError")
    app.edit("app/ipc/web_ipc.rb", "{ 2 ", "{ 3 }")
    expect(version.value).to eq(3)
    expect(app.members["web"].size).to eq(1)
  end

  it "runs JSON-RPC methods with the current code" do
    app.write("app/models/price.rb", "class Price; def self.now = 1; end")
    told = app.run(<<~RUBY)
      RedisIPC::JSONRPC::Server.new("shop_rpc").on("price") { Price.now }.connect
      client = RedisIPC::JSONRPC::Client.new("shop_rpc").connect
      p client.call("price")
      File.write("app/models/price.rb", "class Price; def self.now = 2; end")
      p client.call("price")
    RUBY
    expect(told.split).to eq(%w[1 2])
  end

  it "connects a channel to its new group when that has changed" do
    app.serve(workers: 0)
    expect(version.value).to eq(1)
    app.edit("app/ipc/web_ipc.rb", 'channel "web"', 'channel "cobweb"')
    app.get("/state")
    expect(version(group: "cobweb").value).to eq(1)
    eventually { app.members.keys.sort == %w[cobweb outside] }
  end

  it "answers for a channel whose file is new or changed, without a request that makes Rails check" do
    app.edit("config/redis_ipc.yml", "channels: [\"WebIpc\"]", "pool_size: 3")
    app.serve(workers: 0)
    app.write("app/ipc/new_ipc.rb", "class NewIpc < ApplicationIpc; channel \"new\"; event(\"version\") { 1 }; end")
    expect(version(group: "new").value).to eq(1)

    app.write("app/ipc/new_ipc.rb", "class NewIpc < ApplicationIpc; channel \"newer\"; event(\"version\") { 1 }; end")
    expect(version(group: "newer").value).to eq(1)
    FileUtils.rm(File.join(app.folder, "app/ipc/new_ipc.rb"))
    eventually(timeout: 20) { !app.members.key?("newer") }

    # Everyone gets the error of a file that cannot be loaded, until it can.
    app.write("app/ipc/new_ipc.rb", "class NewIpc <")
    eventually(timeout: 20) { app.log.include?("cannot be loaded: SyntaxError") }
    expect(Array.new(2) { version.error }).to eq(%w[SyntaxError SyntaxError])
    app.write("app/ipc/new_ipc.rb", "class NewIpc < ApplicationIpc; channel \"new\"; event(\"version\") { 2 }; end")
    expect(version(group: "new").value).to eq(2)
    expect(version.value).to eq(1)
  end

  # A reload waits for all threads inside the executor, and blocks threads that want to enter. So a request must not
  # wait inside for an answer of its own process, or of one that asks back.
  it "reloads in time while calls wait for each other" do
    app.serve(workers: 0)
    expect(app.get("/itself?event=relay")).to eq(value: 1)
    (2..6).each do |number|
      results = Thread.new { app.get_all(1..24, threads: 3) { app.get("/itself?event=relay")[:value] } }
      app.edit("app/ipc/web_ipc.rb", "{ #{number - 1} }", "{ #{number} }")
      expect(results.value - [number - 1, number]).to be_empty
      expect(app.get("/itself?event=relay")).to eq(value: number)
    end
    expect(app.log).not_to include("was not answered")
  end

  # A reload waits for all threads that run code, and blocks threads that want to run some. So a request must release
  # the executor while it waits for a connection: the thread that connects calls on_error, which runs code.
  it "reloads while a forked child's request waits for its connection" do
    ended = app.run(<<~RUBY)
      path, link = #{RedisServer.shared.path.inspect}, File.expand_path("tmp/redis.sock")
      File.symlink(path, link)
      stream = RedisIPC::Stream.new("house", "lone").on_error { nil }.connect(redis_options: { path: link })
      File.delete(link)
      # This loads what the executor itself needs.
      Rails.application.executor.wrap { nil }
      waits = ->(thread, where) { sleep 0.01 until thread.stop? && thread.backtrace&.first(10).to_s.include?(where) }
      # The stream may be reporting the deleted file, inside the executor. Rails never releases what a thread held that
      # does not exist in the child. So this forks while no thread is inside.
      pid = ActiveSupport::Dependencies.interlock.unloading { fork }
      unless pid
        request = Thread.new { Rails.application.executor.wrap { stream.stats && "served" } }
        waits.(request, "await_reconnection")
        reload = Thread.new do
          Rails.application.executor.wrap { ActiveSupport::Dependencies.interlock.unloading { "reloaded" } }
        end
        waits.(reload, "start_exclusive") unless reload.join(0.5)
        # The reason is another one now, so on_error is called at once.
        File.write(link, "")
        sleep 1
        File.delete(link)
        File.symlink(path, link)
        puts [request, reload].map { |thread| thread.join(5)&.value }.inspect
        $stdout.flush
        exit!
      end
      Process.wait(pid)
    RUBY
    expect(ended.strip).to eq(%w[served reloaded].inspect)
  end
end

# frozen_string_literal: true

require "open3"

RSpec.describe "which channels a Rails application connects", timeout: 120 do
  let(:app) { RailsApp.new }

  after { app.stop }

  connected = "RedisIPC.channels.connect; puts RedisIPC.channels.connected?; print ObjectSpace.each_object(Class)" \
              ".select { |one| one < RedisIPC::Channel && one.connected? }.map(&:name).sort.inspect"

  # Returns what the application prints, even if it fails.
  def say(code, **variables)
    app.run(code, **variables)
  rescue RuntimeError => e
    e.message
  end

  it "are those of the files, by their autoloaded names, without other folders" do
    app.write("app/ipc/concerns/audited.rb", "module Audited; end")
    app.write("app/ipc/pantry/shelf_ipc.rb", "class Pantry::ShelfIpc < ApplicationIpc; channel \"shelf\"; end")
    app.write("app/ipc/bbq_ipc.rb", "class BBQIpc < ApplicationIpc; include Audited; channel \"bbq\"; end")
    app.write("config/initializers/inflections.rb", <<~RUBY)
      Rails.autoloaders.main.inflector.inflect("bbq_ipc" => "BBQIpc")
    RUBY
    app.edit("config/redis_ipc.yml", "channels: [\"WebIpc\"]", "channels_path: app/ipc/")
    expect(app.run(connected)).to eq(%(true\n["BBQIpc", "Cellar::Wine", "Pantry::ShelfIpc", "WebIpc", "WorkerIpc"]))
  end

  it "must exist if they are named" do
    said = say("RedisIPC.channels.connect", REDIS_IPC_CHANNELS: "WebIpc, WrokerIpc")
    expect(said).to include("RedisIPC::ConfigurationError", "WrokerIpc",
                            "ApplicationIpc, Cellar::Wine, WebIpc, WorkerIpc")
  end

  it "are not those of an empty variable" do
    expect(app.run(connected, REDIS_IPC_CHANNELS: "", REDIS_IPC_CONNECT: " ")).to eq(%(true\n["WebIpc"]))
  end

  it "are logged if they cannot be loaded in a child" do
    app.write("app/ipc/web_ipc.rb", "class WebIpc <")
    output = app.run(<<~RUBY, RAILS_ENV: "development")
      RedisIPC.channels.run_in_children
      log = -> { File.read("log/development.log") }
      Process.wait(fork { Timeout.timeout(10) { Thread.pass until log.().include?("cannot be started") } })
      print log.()[/cannot be started: \\w+/]
    RUBY
    expect(output).to eq("cannot be started: SyntaxError")
  end

  it "are not connected with options of the wrong type: booting fails with that" do
    { "shutdown_timeout: \"20\"" => "shutdown_timeout", "shutdown_timeout: -1" => "shutdown_timeout",
      "log_tags: [1]" => "log_tags", "channels: 1" => "channels" }.each do |line, name|
      app.write("config/redis_ipc.yml", "production:\n  #{line}\n")
      expect(say("")).to include("ConfigurationError", "the option #{name} must be")
    end
    app.write("config/redis_ipc.yml", "production: {}\n")
    app.write("config/initializers/ipc.rb", "Rails.application.config.redis_ipc.log_tags = [:no_such_method]")
    expect(say("")).to include("the option log_tags must be", ":no_such_method")
  end

  it "use the settings of RedisIPC.configure in an initializer, unless config.redis_ipc overrides them" do
    shown = "print RedisIPC.configuration.shutdown_timeout"
    expect(app.run(shown)).to eq("5")
    app.write("config/initializers/ipc.rb", "RedisIPC.configure { |config| config.shutdown_timeout = 20 }")
    expect(app.run(shown)).to eq("20")
    app.write("config/initializers/more.rb", "Rails.application.config.redis_ipc.shutdown_timeout = 30")
    expect(app.run(shown)).to eq("30")
  end
end

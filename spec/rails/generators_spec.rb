# frozen_string_literal: true

require "erb"
require "open3"
require "yaml"

RSpec.describe "the generators" do
  let(:app) { RailsApp.new }

  after { app.stop }

  def generate(*arguments)
    app.run("Rails.application.load_generators; Rails::Generators.invoke(*#{arguments.inspect})")
  end

  def read(file)
    File.read(File.join(app.folder, file))
  end

  def in_folder(*command)
    Open3.capture2e({ "RUBYLIB" => RailsApp::LIBRARY, "REDIS_URL" => "redis://127.0.0.1:1/0" }, *command,
                    chdir: app.folder).first
  end

  it "write what makes an application ready, and a channel with a spec that passes" do
    # As in an application that has nothing yet.
    %w[app/ipc config/redis_ipc.yml].each { |name| FileUtils.rm_r(File.join(app.folder, name)) }
    app.write("config.ru", "require_relative \"config/environment\"\nrun Rails.application\n")
    generate("redis_ipc:install", ["--stream", "shop"])
    expect(read("app/ipc/application_ipc.rb")).to include("class ApplicationIpc < RedisIPC::Channel", 'stream "shop"')
    expect(YAML.safe_load(ERB.new(read("config/redis_ipc.yml")).result, aliases: true).keys)
      .to eq(%w[default development test production])
    expect(read("config.ru").scan("load_server").size).to eq(1)

    FileUtils.mkdir_p(File.join(app.folder, "spec"))
    app.write("spec/rails_helper.rb", 'ENV["RAILS_ENV"] = "production"; require_relative "../config/environment"')
    generate("redis_ipc:channel", %w[kitchen cook clean])
    generate("redis_ipc:channel", %w[pantry/shelf_ipc])
    expect(read("app/ipc/kitchen_ipc.rb")).to eq(<<~RUBY)
      # frozen_string_literal: true

      class KitchenIpc < ApplicationIpc
        channel "kitchen"

        event("cook", params: []) do
          # What the block returns is the answer.
        end

        event("clean", params: []) do
          # What the block returns is the answer.
        end
      end
    RUBY
    expect(read("app/ipc/pantry/shelf_ipc.rb")).to include("class Pantry::ShelfIpc", 'channel "pantry/shelf"')
    expect(in_folder("rspec", "-Ispec", "--no-color")).to include("3 examples, 0 failures")

    # Nothing of what was generated needs a correction.
    # What a generator cannot know is the reader's: documentation comments.
    lint = in_folder("rubocop", "--only", "Layout,Lint", "app/ipc", "spec/ipc")
    expect(lint).to include("no offenses")
  end

  it "write a test where an application has no specs" do
    FileUtils.mkdir_p(File.join(app.folder, "test"))
    app.write("test/test_helper.rb", <<~RUBY)
      ENV["RAILS_ENV"] = "production"
      require_relative "../config/environment"
      require "active_support/test_case"
      require "minitest/autorun"
    RUBY
    generate("redis_ipc:channel", %w[kitchen cook])
    output = in_folder(RbConfig.ruby, "-Itest", "test/ipc/kitchen_ipc_test.rb")
    expect(output).to include("1 runs", "0 failures, 0 errors")
  end
end

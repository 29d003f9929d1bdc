# frozen_string_literal: true

require "open3"

# Runs what these pages tell a reader to write, in two applications.
RSpec.describe "the examples of docs/rails.md and docs/testing.md" do
  let(:app) { RailsApp.new }

  after { app.stop }

  blocks = %w[rails testing].flat_map do |page|
    File.read(File.expand_path("../../docs/#{page}.md", __dir__)).scan(/^```ruby\n(.*?)^```$/m).flatten
  end

  # Finds the only block that contains the text.
  block = lambda do |text|
    found = blocks.select { |one| one.include?(text) }
    found.size == 1 ? found.first : raise("#{found.size} blocks say #{text}")
  end

  # This replaces rspec-rails, which is not installed: the part of Rails that its request specs use.
  helper = <<~RUBY
    require_relative "../config/environment"
    require "action_dispatch/testing/integration"
    require "redis_ipc/rspec"
    module Requests
      include ActionDispatch::Integration::Runner
      def app = Rails.application
      def have_http_status(status) = have_attributes(status: Rack::Utils.status_code(status))
    end
    RSpec.configure do |config|
      config.include Requests, type: :request
      config.before(type: :request) { reset! }
    end
  RUBY

  def run_specs(text)
    app.write("spec/example_spec.rb", "require \"rails_helper\"\n#{text}")
    environment = { "RUBYLIB" => RailsApp::LIBRARY, "REDIS_URL" => "redis://127.0.0.1:1/0",
                    "RAILS_ENV" => "production" }
    Open3.capture2e(environment, "rspec", "-Ispec", "--no-color", chdir: app.folder).first
  end

  before { app.write("spec/rails_helper.rb", helper) }

  it "pass in the application that asks, in which there is no kitchen" do
    app.write("app/ipc/living_room_ipc.rb", "class LivingRoomIpc < ApplicationIpc; channel \"living_room\"; end")
    controller, routes = block.call("class DinnersController").split(/^# config.routes.rb$/)
    app.write("app/controllers/application_controller.rb", "class ApplicationController < ActionController::Base; end")
    app.write("app/controllers/dinners_controller.rb", controller)
    app.write("config/routes.rb", routes)
    app.write("config/initializers/requests.rb", "Rails.application.config.hosts.clear")
    # This is Rails's default in tests since 7.1: exceptions with a status are answered, all others raise.
    app.write("config/initializers/show.rb", <<~RUBY)
      Rails.application.config.middleware.insert_after ActionDispatch::ShowExceptions, Class.new {
        def initialize(app) = @app = app
        def call(env)
          @app.call(env)
        rescue StandardError => e
          known = ActionDispatch::ExceptionWrapper.rescue_responses.key?(e.class.name)
          env["action_dispatch.show_exceptions"] = Rails.gem_version < Gem::Version.new("7.1") ? known : :rescuable
          raise
        end
      }
    RUBY
    expect(run_specs(block.call('RSpec.describe "dinner"'))).to include("3 examples, 0 failures")
  end

  it "pass in the application that answers" do
    app.write("app/ipc/kitchen_ipc.rb", block.call("class KitchenIpc < ApplicationIpc"))
    expect(run_specs(block.call("RSpec.describe KitchenIpc"))).to include("1 example, 0 failures")
  end

  it "have options that are known" do
    app.write("app/ipc/office_ipc.rb", "class OfficeIpc < ApplicationIpc; end")
    app.write("app/ipc/kitchen_ipc.rb", "class KitchenIpc < ApplicationIpc; channel \"kitchen\"; end")
    options = [block.call("config.redis_ipc.consumer ="), block.call("config.redis_ipc.channel_options =")].join("\n")
    app.write("config/initializers/ipc.rb", "config = Rails.application.config\n#{options}")
    code = "RedisIPC.channels.connect; puts KitchenIpc.connected?, File.read(\"log/production.log\")[/ipc answers .*/]"
    app.edit("config/redis_ipc.yml", "channels: [\"WebIpc\"]", "channels: [\"KitchenIpc\"]")
    told = app.run(code, OFFICE_REDIS_URL: "redis://office:6379/0").lines(chomp: true)
    expect(told).to match(["true", /, 10 threads\)\z/])
  end
end

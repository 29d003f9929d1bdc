# frozen_string_literal: true

require "open3"

RSpec.describe "the boot of a Rails application", timeout: 200 do
  let(:app) { RailsApp.new }

  after { app.stop }

  # What the engine and the frameworks of `rails/all` have done by the time the application is ready.
  facts = <<~RUBY
    status, headers, body = Rails.application.call(Rack::MockRequest.env_for("/cellar/bottles"))
    p [status, headers["x-cellar"], body.each.to_a]
    p ActionMailbox::InboundEmail.reflect_on_attachment(:raw_email).name, ActionText::RichText.table_name
    p Rails.application.config.cellar.temperature, %w[visits cellar_bottles] - ActiveRecord::Base.connection.tables
    p RedisIPC.channels.connected?
    p [WebIpc.trigger_event("version", target: "web"), WebIpc.trigger_event("label", target: "cellar")].map(&:value)
  RUBY

  %w[development test production].product([true, false]).each do |environment, eager_load|
    it "is the same as without the gem in #{environment} with eager_load #{eager_load}" do
      said = app.run(facts, RAILS_ENV: environment, EAGER_LOAD: eager_load, REDIS_IPC_CONNECT: true,
                            REDIS_IPC_CHANNELS: "WebIpc,Cellar::Wine")
      expect(said).to eq(<<~TEXT)
        [200, "stamped", ["Cellar"]]
        :raw_email
        "action_text_rich_texts"
        11
        []
        true
        [1, "Cellar"]
      TEXT
    end
  end

  # The order is Rails's own, whatever comes first in the Gemfile.
  it "runs all initializers in the order it has without the gem" do
    order = 'puts Shop.instance.initializers.tsort_each.map { |one| [one.context_class, one.name].join(" ") }'
    plain = app.script("require \"./config/application\"; #{order}", WITHOUT_REDIS_IPC: true).lines(chomp: true)
    expect(plain).to include("Cellar::Engine cellar.middleware", "Shop build_middleware_stack")
    ["", "require \"rails\"; require \"redis_ipc\"; "].each do |before|
      order_with = app.script("#{before}require \"./config/application\"; #{order}").lines(chomp: true)
      expect(order_with.last).to eq("Shop redis_ipc.booted")
      expect(order_with - ["Shop redis_ipc.booted"]).to eq(plain)
    end
  end

  # Each framework loads much, and an initializer that configures it would then come too late.
  it "loads no framework and no class of the application that it would not load without the gem" do
    hooks = %i[active_record active_job action_mailer action_controller action_controller_base action_controller_api
               action_view action_cable action_mailbox action_text_rich_text active_storage_blob]
    loaded = <<~RUBY
      require "./config/application"
      loaded = []
      #{hooks}.each { |hook| ActiveSupport.on_load(hook) { loaded << hook } }
      require "./config/environment"
      RedisIPC.channels.load_all if ENV["LOAD_CHANNELS"]
      print loaded.sort, %i[Visit AsksController WebIpc].reject { |name| Object.autoload?(name) }
    RUBY
    %w[development production].each do |environment|
      variables = { RAILS_ENV: environment, EAGER_LOAD: false }
      plain = app.script(loaded, WITHOUT_REDIS_IPC: true, **variables)
      expect(plain).to end_with("[]")
      expect(plain).not_to include("active_job")
      expect(app.script(loaded, **variables)).to eq(plain)
      # This also holds if the channels are loaded, as in processes that only ask: the channels themselves need no
      # framework.
      expect(app.script(loaded, LOAD_CHANNELS: true, **variables)).to eq(plain.sub(/\[\]\z/, "[:WebIpc]"))
    end
  end

  it "lets code ask as soon as it can be loaded, and answers when everything is ready" do
    app.serve(workers: 0)
    app.write("app/ipc/boot_ipc.rb", <<~RUBY)
      class BootIpc < ApplicationIpc
        channel "boot"
        event("paths") { [Rails.application.routes.url_helpers.ask_path, Rails.application.config.seen] }
      end
    RUBY
    app.write("config/initializers/seen.rb", <<~RUBY)
      config = Rails.application.config
      config.seen = []
      look = ->(moment) { config.seen << [moment, RedisIPC.channels.connected?, WebIpc.trigger_event("version", target: "web").value] }
      config.to_prepare { look.("prepare") if config.seen.empty? }
      config.after_initialize { look.("initialized") }
    RUBY
    waiting = app.outside.async_trigger_event("paths", target: "boot", timeout: 60)
    asked = "print BootIpc.trigger_event(\"paths\", target: \"boot\").value"
    told = app.run(asked, REDIS_IPC_CONNECT: true, REDIS_IPC_CHANNELS: "BootIpc")
    expected = ["/ask", [["prepare", false, 1], ["initialized", false, 1]]]
    expect(told).to eq(expected.inspect)
    expect(waiting.value).to eq(expected)
  end
end

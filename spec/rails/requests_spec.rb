# frozen_string_literal: true

require "net/http"
require "open3"

RSpec.describe "a request to a Rails application whose controller asks", timeout: 120 do
  let(:app) { RailsApp.new }

  after { app.stop }

  # Writes a controller whose action is this code.
  def write_controller(action)
    app.write("app/controllers/dinners_controller.rb", <<~RUBY)
      class DinnersController < ActionController::API
        def show
          #{action}
        end
      end
    RUBY
    app.edit("config/routes.rb", "get \"state\"", "get \"dinner\", to: \"dinners#show\"\n  get \"state\"")
  end

  # Sends a request without a web server. Returns the status, and the body if it is wanted.
  request = <<~RUBY
    require "rack/mock"
    get = lambda do |path = "/dinner"|
      status, _, body = Rails.application.call(Rack::MockRequest.env_for(path))
      body.each { |part| puts part if status == 200 }
      body.close if body.respond_to?(:close)
      puts status
    end
  RUBY

  describe "the status of an error that the controller does not rescue" do
    it "is 504 if no answer came, 503 if Redis is down or too many calls wait" do
      write_controller(<<~RUBY)
        case params[:kind]
        when "late" then WebIpc.trigger_event("cook", target: "nobody", timeout: 0.05)
        when "full" then raise RedisIPC::OverloadedError, "full"
        when "refused" then raise RedisIPC::CommandError, "refused"
        else raise RedisIPC::NotConnectedError, "not connected"
        end
      RUBY
      paths = %w[late full refused].map { |kind| "/dinner?kind=#{kind}" }
      expect(app.run("#{request}#{paths}.each(&get); get.()").split).to eq(%w[504 503 500 503])
      away = RedisServer.free_port
      expect(app.run("#{request}get.(\"/dinner?kind=late\")", REDIS_URL: "redis://127.0.0.1:#{away}/0")).to eq("503\n")
    end

    it "can be set by the application" do
      write_controller("WebIpc.trigger_event(\"cook\", target: \"nobody\", timeout: 0.05)")
      app.edit("config/application.rb", "class Shop < Rails::Application\n", <<~RUBY)
        class Shop < Rails::Application
          config.action_dispatch.rescue_responses["RedisIPC::TimeoutError"] = :locked
      RUBY
      expect(app.run("#{request}get.()")).to eq("423\n")
    end
  end

  it "passes on Rails's parameters, if they are permitted" do
    app.write("app/ipc/kitchen_ipc.rb", <<~RUBY)
      class KitchenIpc < ApplicationIpc
        channel "kitchen"
        event("cook", params: [:dish, :sides, :order]) { params.to_h }
      end
    RUBY
    write_controller(<<~RUBY)
        sent = case params[:kind]
               when "permitted" then params.permit(:dish, sides: [:name])
               when "nested" then { order: params.permit(:dish) }
               when "nested badly" then { order: params }
               else params
               end
        render json: KitchenIpc.trigger_event("cook", target: "kitchen", params: sent).value!
      rescue StandardError => e
        render plain: e.class.name
    RUBY
    told = app.run(<<~RUBY, REDIS_IPC_CHANNELS: "KitchenIpc")
      #{request}
      RedisIPC.channels.connect
      ["permitted", "nested", "nested%20badly", "bad"].each do |kind|
        get.("/dinner?dish=soup&salt=1&sides[][name]=bread&sides[][x]=y&kind=\#{kind}")
      end
    RUBY
    expect(told.lines(chomp: true) - ["200"]).to eq(
      [%({"dish":"soup","sides":[{"name":"bread"}]}), %({"order":{"dish":"soup"}}),
       "ActionController::UnfilteredParameters", "ActionController::UnfilteredParameters"]
    )
  end

  describe "the id that Rails gives it" do
    def get(path, id)
      Net::HTTP.start("127.0.0.1", app.port, read_timeout: 40) { |http| http.get(path, "X-Request-Id" => id) }.body
    end

    # Returns the log line, and the ids in it: that of the IPC request and that of the HTTP request.
    def line(pattern)
      eventually(timeout: 20) { app.log.lines(chomp: true).find { |line| line.match?(pattern) } }
    end

    it "is passed on, from event to event, and is in the log on both sides" do
      app.write("config/initializers/log.rb",
                "Rails.logger.level = Logger::DEBUG\nRails.application.config.colorize_logging = false\n")
      write_controller("render json: WebIpc.trigger_event(\"relay\", target: \"web\").value!")
      app.serve(workers: 0)
      expect(get("/dinner", "order-42")).to eq("1")
      %w[version relay].each do |event|
        handled = line(/Handled #{event} for web/)
        expect(handled).to match(/\A\[redis_ipc\] \[web\] \[\h{32}\] \[order-42\] Handled/)
        asked = line(/IPC web #{event}\b.* fulfilled/)
        expect(asked).to include("(id #{handled[/\h{32}/]}, request_id order-42)")
      end
      # The id ends with the request and with the event.
      get("/itself", "order-43")
      expect(line(/Handled version .*/)).to be_truthy
      eventually(timeout: 20) do
        app.log.scan(/\[order-\d+\] Handled/).tally == { "[order-42] Handled" => 2, "[order-43] Handled" => 1 }
      end
    end

    it "is missing without an HTTP request, and does not stay with the thread" do
      app.write("app/ipc/kitchen_ipc.rb", <<~RUBY)
        class KitchenIpc < ApplicationIpc
          channel "kitchen"
          event("id") { entry.correlation_id }
          event("ask") { KitchenIpc.trigger_event("id", target: "kitchen").value! }
        end
      RUBY
      write_controller("render json: [KitchenIpc.trigger_event(\"ask\", target: \"kitchen\").value!]")
      told = app.run(<<~RUBY, REDIS_IPC_CHANNELS: "KitchenIpc")
        #{request}
        RedisIPC.channels.connect
        2.times do
          get.()
          p KitchenIpc.trigger_event("ask", target: "kitchen").value!
        end
        RedisIPC.around_request { |request, call| (request.correlation_id ||= "job-7") && call.call }
        p KitchenIpc.async_trigger_event("ask", target: "kitchen").value!
      RUBY
      id = /\["\h{8}-\h{4}-\h{4}-\h{4}-\h{12}"\]/
      expect(told.lines(chomp: true)).to match([id, "200", "nil", id, "200", "nil", '"job-7"'])
    end
  end
end

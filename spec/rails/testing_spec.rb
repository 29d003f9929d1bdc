# frozen_string_literal: true

require "open3"

RSpec.describe "testing help in a Rails application" do
  let(:app) { RailsApp.new }

  after { app.stop }

  # Runs code without Redis, as tests do.
  def run(code)
    app.run(<<~RUBY, REDIS_URL: "redis://127.0.0.1:1/0")
      require "redis_ipc/testing"
      class Current
        resets { $resets = $resets.to_i + 1 }
      end
      class AskerIpc < ApplicationIpc
        channel "asker"
      end
      class AnswererIpc < ApplicationIpc
        channel "answerer"
        on_error { Current.number = "of on_error" }
        event("number") { Current.number.tap { Current.number = "of the handler" } }
        event("nested") do
          Current.number = "outer"
          [AnswererIpc.trigger_event("number", target: "answerer").value, Current.number]
        end
        event("broken") { Current.number = "broken"; raise "so" }
      end
      RedisIPC::Testing.inline!
      ask = ->(event) { AskerIpc.trigger_event(event, target: "answerer").value }
      #{code}
    RUBY
  end

  code = <<~RUBY
    Current.number = "of the caller"
    instance = Current.instance
    p %w[number number nested broken].map { |event| [ask.(event), Current.number] }
    p [$resets.to_i.zero?, instance.equal?(Current.instance)]
    AskerIpc.trigger_event("number", target: "nobody") rescue p Current.number
  RUBY
  seen = <<~TEXT
    [[nil, "of the caller"], [nil, "of the caller"], [[nil, "outer"], "of the caller"], [nil, "of the caller"]]
    [true, true]
    "of the caller"
  TEXT

  # This is the case in a request of an integration test, and in every test of Rails 7.
  it "gives a handler CurrentAttributes of its own, and keeps the caller's, inside the executor" do
    expect(run("Rails.application.executor.wrap do\n#{code}end")).to eq(seen)
  end

  it "does so outside the executor" do
    expect(run(code).sub("[true, true]", "[false, true]")).to eq(seen.sub("[true, true]", "[false, true]"))
  end

  it "runs the consumers in app/events for what is published inline" do
    app.write("app/events/log_events.rb", <<~RUBY)
      class LogEvents < RedisIPC::Events::Consumer
        stream "orders", group: "log"
        def call(event) = puts(event.data)
      end
    RUBY
    expect(run("RedisIPC::Events.publish(\"orders\", \"handled\")")).to eq("handled\n")
  end
end

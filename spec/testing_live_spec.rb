# frozen_string_literal: true

RSpec.describe "testing help for live events" do
  let(:prelude) do
    <<~RUBY
      require "logger"
      require "redis_ipc/testing"
      T = RedisIPC::Testing
      T.fake!
      RedisIPC.configuration.logger = Logger.new(IO::NULL)
    RUBY
  end

  def run(script)
    process = ruby(prelude + script, redis_url: "")
    process.rest.lines.map(&:chomp)
  end

  it "delivers messages, keyspace notifications and losses" do
    told = run(<<~'RUBY')
      class Prices < RedisIPC::Events::Consumer
        channel "prices", "rates", json: true, type: "kind"
        on("tick") { |event| puts "tick #{event["price"]} of #{event.source}" }
        on_loss { |loss| puts "lost #{loss.at_most}: #{loss.cause} of #{loss.source}" }
        on_error { |error| puts error.message }
        def call(event) = puts("#{event.type.inspect} #{event.data} of #{event.source}, #{event.position.inspect}")
      end

      class Sessions < RedisIPC::Events::Consumer
        keys "session:*", value: true
        def call(event)
          puts [event.type, event.key, event.operation, event.data, event.metadata[:value_state]].inspect
        end
      end

      class Plain < RedisIPC::Events::Consumer
        pattern "a*"
        batch size: 3
        def call(events) = puts(events.map { |event| [event.data, event.metadata[:pattern]] }.inspect)
      end

      class Profiles < RedisIPC::Events::Consumer
        keys "user:*", fields: true, value: true
        def call(event) = puts([event.type, event.metadata[:fields], event.data].inspect)
      end

      class Users < RedisIPC::Events::Consumer
        tracking "user:*"
        on_loss { |loss| puts "drop all: #{loss.cause}" }
        def call(event) = puts("drop #{event.key.inspect}: #{event.type}")
      end

      puts T.deliver_event(Prices, "tick", price: 12).done?
      puts T.deliver_event(Prices, nil, [1], key: "rates").done?
      puts T.deliver_event(Prices, fields: { "channel" => "prices", "data" => "{" }).dead?
      T.deliver_event(Sessions, "expired", key: "session:1")
      T.deliver_event(Sessions, "set", "me", key: "session:1")
      T.deliver_event(Sessions, "hset", { "a" => 1 }, key: "session:1")
      T.deliver_event(Sessions, "zadd", { "a" => 1.5 }, key: "session:1")
      T.deliver_event(Sessions, "rpush", ["a", 2], key: "session:1")
      T.deliver_event(Profiles, "hdel", ["name", "a,b"], key: "user:1")
      T.deliver_event(Profiles, "hset", { fields: "name", value: { "name" => "x" } }, key: "user:1")
      T.deliver_event(Users, key: "user:7")
      T.deliver_event(Users, "flush")
      T.lose_events(Users)
      T.lose_events(Users, cause: :flushed)
      T.deliver_events(Plain, [{ data: "x" }, { data: 2 }])
      puts T.deliver_events(Prices, [{ type: "tick", data: { price: 1 } }, { data: 2, key: "rates" }], reorder: true).size
      T.lose_events(Prices, at_most: 12)
      T.lose_events(Prices, at_most: 3, exact: true, cause: :slow_consumer)
      begin
        T.lose_events(Prices, cause: :trimmed)
      rescue ArgumentError => e
        puts e.message[/must be one of .:disconnected/]
      end
      Prices.start
      p Prices.running?, Prices.stats[:losses]
    RUBY
    expect(told).to eq([
                         "tick 12 of prices", "true", "nil [1] of rates, nil", "true",
                         "the message is no JSON", "true",
                         '["expired", "session:1", :delete, nil, :gone]',
                         '["set", "session:1", :update, {"value"=>"me"}, :present]',
                         '["hset", "session:1", :update, {"value"=>{"a"=>"1"}}, :present]',
                         '["zadd", "session:1", :update, {"value"=>{"a"=>1.5}}, :present]',
                         '["rpush", "session:1", :update, {"value"=>["a", "2"]}, :present]',
                         '["hdel", ["name", "a,b"], nil]',
                         '["hset", ["name"], {"value"=>{"name"=>"x"}}]',
                         'drop "user:7": invalidate', "drop nil: flush", "drop all: disconnected", "drop all: flushed",
                         '[["x", "a*"], ["2", "a*"]]',
                         "nil 2 of rates, nil", "tick 1 of prices", "2",
                         "lost 12: disconnected of prices, rates", "lost 3: slow_consumer of prices, rates",
                         "must be one of [:disconnected",
                         "true", "2"
                       ])
  end
end

# frozen_string_literal: true

# A consumer of events in a Rails application, which starts it itself.
RSpec.describe "what Rails puts around an event", timeout: 120 do
  let(:app) { RailsApp.new }

  after { app.stop }

  it "is a query cache of its own, the log, and a connection that is returned" do
    output = app.run(<<~RUBY)
      require "stringio"
      log = StringIO.new
      Rails.logger = ActiveSupport::Logger.new(log)
      ActiveSupport::LogSubscriber.logger = Rails.logger
      ActiveSupport::LogSubscriber.colorize_logging = false
      got = Queue.new
      options = { url: ENV.fetch("REDIS_URL") }
      # An event whose processes died with it.
      require "redis"
      redis = Redis.new
      redis.xgroup(:create, "orders", "billing", "0", mkstream: true)
      id = RedisIPC::Events.publish("orders", {}, redis_options: options)
      redis.xreadgroup("billing", "gone", "orders", ">")
      redis.call("XCLAIM", "orders", "billing", "gone", 0, id, "RETRYCOUNT", 5)
      subscription = RedisIPC::Events.consume(stream: "orders", group: "billing", attempts: 1, lease: 0.3,
                                              redis_options: options, concurrency: { threads: 1 }) do |event|
        queries = []
        told = ->(*, payload) { queries << (payload[:cached] ? :cached : :real) if payload[:name] == "Visit Load" }
        ActiveSupport::Notifications.subscribed(told, "sql.active_record") { 2.times { Visit.where(number: 1).to_a } }
        got << queries
        raise ArgumentError, "no" if event["fail"]
      end
      RedisIPC::Events.publish_all("orders", [{ data: {}, type: "order.paid" }, { data: { fail: true } }],
                                   redis_options: options)
      p Array.new(2) { got.pop }
      Timeout.timeout(10) { Thread.pass until ActiveRecord::Base.connection_pool.stat[:busy].zero? }
      Timeout.timeout(10) { Thread.pass until subscription.dead_letters.size == 2 }
      subscription.stop
      prices = RedisIPC::Events.consume(channel: "prices", redis_options: options) { |_event| got << [] }
      redis.publish("prices", 12)
      got.pop
      prices.stop
      puts log.string.scan(/^(?:Handled|Event).*$/).sort.map { |line| line.gsub(/\\d+-\\d+/, "ID").gsub(/[\\d.]+ms/, "Xms") }
    RUBY
    expect(output.lines(chomp: true)).to eq(
      ["[[:real, :cached], [:real, :cached]]",
       "Event ID is a dead letter of orders/billing", "Event ID is a dead letter of orders/billing",
       "Handled event ID of orders/billing, attempt 1 in Xms, which failed with ArgumentError: dead",
       "Handled event of prices, attempt 1 in Xms",
       "Handled event order.paid ID of orders/billing, attempt 1 in Xms"]
    )
  end

  # Without isolation by fibers, all fibers of a thread would have the same connection.
  it "is a connection for each fiber: if there are fewer, it waits for one, no longer than checkout_timeout" do
    rails = Gem::Specification.find_by_name("activerecord").version
    skip "ActiveRecord #{rails} has no isolation by fibers" if rails < Gem::Version.new("7.0")

    output = app.run(<<~RUBY, FIBERS: true)
      def consume(name, pool, timeout, holding)
        config = ActiveRecord::Base.connection_db_config.configuration_hash
        ActiveRecord::Base.establish_connection(config.merge(pool: pool, checkout_timeout: timeout))
        statuses = Queue.new
        told = RedisIPC.subscribe(:event) { |one| statuses << [one.payload[:status], one.payload[:error].class] }
        subscription = RedisIPC::Events.consume(
          stream: name, group: "billing", from: :beginning, concurrency: { fibers: 6 }, logger: Logger.new(IO::NULL),
          attempts: 100, retry_on: { StandardError => { wait: 0.05 } }
        ) { |_| Visit.transaction { Visit.count && sleep(holding) } }
        RedisIPC::Events.publish_all(name, Array.new(6) { { data: 1 } })
        Timeout.timeout(20) { Thread.pass until subscription.stats[:acknowledged] == 6 }
        subscription.stop
        RedisIPC.unsubscribe(told)
        p Array.new(statuses.size) { statuses.pop }.tally.keys.sort_by(&:first), ActiveRecord::Base.connection_pool.stat[:busy]
      end
      RedisIPC.configure { |config| config.redis_options = { url: ENV.fetch("REDIS_URL") } }
      consume("enough", 6, 0.1, 0.05)
      consume("queue", 2, 10, 0.02)
      consume("short", 2, 0.02, 0.2)
    RUBY
    expect(output.lines(chomp: true)).to eq(
      ['[["done", NilClass]]', "0", '[["done", NilClass]]', "0",
       '[["done", NilClass], ["retried", ActiveRecord::ConnectionTimeoutError]]', "0"]
    )
  end
end

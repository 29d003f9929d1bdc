# frozen_string_literal: true

require "logger"
require "redis_ipc"
require "socket"
require "uri"

# What the processes of the busy house do. Each runs until it is told to end.
module Roles
  REDIS = { redis_options: { url: ENV.fetch("REDIS_URL") } }.freeze
  OPTIONS = { **REDIS, logger: Logger.new(File::NULL) }.freeze

  # A healthy group.
  class Kitchen < RedisIPC::Channel
    stream "house"
    channel "kitchen"
    event("cook", params: [:dish]) do
      sleep rand(0.002..0.03)
      "#{params[:dish]}, coming up"
    end
  end

  # A slow group: more is asked of it than its three handlers do.
  class Bakery < RedisIPC::Channel
    stream "house"
    channel "bakery"
    event("bake", params: [:loaf]) { knead }

    def knead
      sleep rand(2.0..6.0)
      "a loaf"
    end
  end

  # One of its events kills the process that handles it.
  class Toaster < RedisIPC::Channel
    stream "house"
    channel "toaster"
    event("toast") { sleep(0.005) && "crisp" }
    event("short_circuit") { exit! }
  end

  # A consumer that is slower than its events come.
  class Billing < RedisIPC::Events::Consumer
    stream "orders", group: "billing", from: :beginning
    options(**OPTIONS)
    order(:none).concurrency(threads: 2)
    on_loss { nil }
    on_error { nil }

    def call(event)
      sleep 0.1
      event.fail!("no such customer") if (event["order"] % 500).zero?
    end
  end

  # It asks all of them.
  class Parent < RedisIPC::Channel
    stream "house"
    channel "parent"
  end

  module_function

  def kitchen
    Kitchen.connect(**OPTIONS)
    sleep
  end

  def bakery
    Bakery.connect(**OPTIONS)
    sleep
  end

  def toaster
    Toaster.connect(consumer: { lease: 1, max_deliveries: 2 }, **OPTIONS)
    sleep
  end

  def parent
    Parent.connect(**OPTIONS)
    [every(0.05) { Parent.trigger_event("cook", target: "kitchen", params: { dish: "pasta" }) },
     every(0.5) { Parent.async_trigger_event("bake", target: "bakery", params: { loaf: "rye" }, timeout: 40) },
     every(0.3) { Parent.trigger_event("toast", target: "toaster") },
     every(20) { Parent.async_trigger_event("short_circuit", target: "toaster", timeout: 30) }].each(&:join)
  end

  def billing
    Billing.start
    sleep
  end

  def shop
    number = 0
    selling = every(0.04) do
      RedisIPC::Events.publish("orders", { order: number += 1 }, type: "order.created", key: number, **REDIS)
      close_shop if (number % 1_000).zero?
    end
    selling.join
  end

  # Redis counts what the group has missed once the group has come to the end.
  def close_shop
    careless_trim
    sleep 4
  end

  # A limit of the publisher would spare what is not handled yet. Somebody else trims without looking: a loss.
  def careless_trim
    address = URI(REDIS.dig(:redis_options, :url))
    redis = address.scheme == "unix" ? UNIXSocket.new(address.path) : TCPSocket.new(address.host, address.port)
    redis.write("XTRIM orders MAXLEN 0\r\n")
    redis.gets
  ensure
    redis&.close
  end

  def calculator
    server = RedisIPC::JSONRPC::Server.new("calculator", **OPTIONS)
    server.on("add") { |a, b| sleep(0.01) && (a + b) }.connect
    client = RedisIPC::JSONRPC::Client.new("calculator", **OPTIONS).connect
    every(0.2) { client.call("add", 1, 2) }.join
  end

  # A call that fails is what the page is to show.
  def every(seconds)
    Thread.new do
      loop do
        yield
      rescue RedisIPC::Error
        nil
      ensure
        sleep seconds
      end
    end
  end
end

Roles.public_send(ARGV.fetch(0))

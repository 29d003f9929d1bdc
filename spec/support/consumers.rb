# frozen_string_literal: true

require "logger"

# Starts consumers of events in this process, and stops them after the example.
module Consumers
  # Makes a class that is not started. Its errors are in `errors`; retries are quick.
  def consumer_class(stream: "orders", group: "billing", from: :beginning, **words, &block)
    kept = errors
    Class.new(RedisIPC::Events::Consumer) do
      stream stream, group: group, from: from, **words
      on_error { |error| kept << error }
      retry_on StandardError, wait: 0
      options redis_options: { path: RedisServer.shared.path }, logger: Consumers.silent
      class_eval(&block) if block
    end
  end

  # Starts a class, or one whose `call` is the block.
  def start(consumer, **options)
    consumers << consumer
    consumer.start(**options)
  end

  # Consumes "orders" with a block.
  def consume(group: "billing", stream: "orders", **words, &block)
    options = { from: :beginning, redis_options: redis_options, retry_on: { StandardError => { wait: 0 } } }
    consume_from(stream: stream, group: group, **options, **words, &block)
  end

  # Consumes any source with a block. Its errors go to `errors`.
  def consume_from(**words, &block)
    words = { logger: Consumers.silent, on_error: errors.method(:<<) }.merge(words)
    RedisIPC::Events.consume(**words, &block).tap { |started| consumers << started }
  end

  # Breaks every subscription of a server, and runs the block while the server refuses new connections.
  def while_unsubscribed(client)
    limit = client.config(:get, "maxclients")["maxclients"]
    client.config(:set, "maxclients", 1)
    client.call("CLIENT", "KILL", "TYPE", "pubsub")
    yield
  ensure
    client.config(:set, "maxclients", limit) if limit
  end

  def publish(data, **options)
    RedisIPC::Events.publish("orders", data, redis_options: redis_options, **options)
  end

  # Publishes an event for each element.
  def publish_all(data)
    RedisIPC::Events.publish_all("orders", data.map { |one| { data: one } }, redis_options: redis_options)
  end

  # Returns the next elements of the Queue `got`.
  def next_ones(count)
    Array.new(count) { next_of(got) }
  end

  def consumers
    @consumers ||= []
  end

  def stop_consumers
    consumers.each(&:stop)
    consumers.clear
  end

  # Returns a logger without output.
  def self.silent
    @silent ||= Logger.new(IO::NULL)
  end
end

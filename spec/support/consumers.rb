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

  # Starts a class, or one whose `call` is the block of the class body.
  def start(consumer, **options)
    consumers << consumer
    consumer.start(**options)
  end

  # Consumes "orders" by a block.
  def consume(group: "billing", stream: "orders", **words, &block)
    kept = errors
    options = { from: :beginning, on_error: ->(error) { kept << error }, redis_options: redis_options,
                logger: Consumers.silent, retry_on: { StandardError => { wait: 0 } } }
    RedisIPC::Events.consume(stream: stream, group: group, **options, **words, &block)
                    .tap { |started| consumers << started }
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

  # A logger that nobody reads.
  def self.silent
    @silent ||= Logger.new(IO::NULL)
  end
end

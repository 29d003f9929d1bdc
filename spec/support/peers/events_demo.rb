# frozen_string_literal: true

# The Ruby counterpart of examples/*/events_demo with ORDER=key: `ruby events_demo.rb STREAM GROUP`, with LIST and
# LEASE.

require "json"
require "logger"
require "redis"
require "redis_ipc"

RedisIPC.configure do |config|
  config.redis_options = { url: ENV.fetch("REDIS_URL") }
  config.logger = Logger.new(IO::NULL)
end
list = Redis.new(url: ENV.fetch("REDIS_URL"))
stream, group = ARGV
subscription = RedisIPC::Events.consume(stream: stream, group: group, from: :beginning, order: :key,
                                        lease: ENV.fetch("LEASE").to_f) do |event|
  list.rpush("#{ENV.fetch("LIST")}:#{event.key}", JSON.generate(event.data))
end
stop = Queue.new
trap(:TERM) { stop << true }
$stdout.write("ready\n")
$stdout.flush
stop.pop
subscription.stop

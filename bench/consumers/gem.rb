# frozen_string_literal: true

# A consumer of RedisIPC::Events: `gem.rb port=6379 group=g order=none ...`, see bench/harness/event_player.rb.

require "logger"
require "redis_ipc"
require_relative "../settings"
require_relative "figures"

$stdout.sync = true
settings = Bench::Settings.parse(ARGV)

# Computes for 1 ms of this thread's processor time.
def compute
  until_time = Process.clock_gettime(Process::CLOCK_THREAD_CPUTIME_ID) + 0.001
  nil while Process.clock_gettime(Process::CLOCK_THREAD_CPUTIME_ID) < until_time
end

handlers = {
  "read" => ->(event) { event["number"] },
  "batch" => ->(events) { events.each { |event| event["number"] } },
  "compute" => ->(_) { compute },
  "wait" => ->(_) { sleep 0.005 },
  "stamp" => ->(_) { $stdout.write("#{Process.clock_gettime(Process::CLOCK_MONOTONIC, :nanosecond)}\n") }
}
words = { concurrency: { settings.fetch(:executor).to_sym => settings.fetch(:size) } }
words[:order] = settings[:order].to_sym unless settings[:order] == "none"
words[:batch] = { size: settings[:batch], within: 0.2 } if settings.fetch(:batch) > 1

subscription = RedisIPC::Events.consume(
  stream: "events", group: settings.fetch(:group), from: :beginning, redis_options: { port: settings.fetch(:port) },
  logger: Logger.new(IO::NULL), **words, &handlers.fetch(settings.fetch(:handler))
)
if settings[:handler] == "stamp"
  puts "ready"
  $stdin.read
else
  # Done, and acknowledged. With an order that is written down every 0.2 s, as are what a stream has more of.
  counter = settings[:order] == "none" ? :acknowledged : :done
  figures = Bench::ConsumerFigures.new(settings)
  sleep 0.005 while figures.go_on?(subscription.stats[counter])
  puts figures
end
subscription.stop(timeout: 0)

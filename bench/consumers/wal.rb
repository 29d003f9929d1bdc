# frozen_string_literal: true

# A consumer of PostgreSQL's log, of RedisIPC::Events. It measures itself from the first row to the last, or says when
# each handler began, or what memory it took: `wal.rb folder=/tmp/pg slot=bench events=400000 threads=1 handler=read`.
# With forward=stream port=6379 it has no handler: the rows go into a stream of Redis.

require "logger"
require "redis_ipc"
require_relative "../settings"
require_relative "figures"

$stdout.sync = true
settings = Bench::Settings.parse(ARGV)
handlers = {
  "read" => ->(event) { event["number"] },
  "batch" => ->(events) { events.each { |event| event["number"] } },
  "stamp" => ->(_) { $stdout.write("#{Process.clock_gettime(Process::CLOCK_MONOTONIC, :nanosecond)}\n") }
}
forwards = {
  "stream" => {}, "partitions" => { partitions: 16 }, "maxlen" => { maxlen: 10_000, unread: :drop },
  "key" => { key: ->(event) { event["number"] } }
}
if settings[:forward]
  words = { forward: { to: "rows", **forwards.fetch(settings[:forward]) },
            redis_options: { port: settings.fetch(:port) } }
else
  handler = handlers.fetch(settings.fetch(:handler))
  words = { concurrency: { threads: settings.fetch(:threads) } }
  words[:batch] = { size: settings[:batch], within: 0.2 } if settings[:batch]
end
subscription = RedisIPC::Events.consume(
  wal: { host: settings.fetch(:folder), user: "spec", dbname: "postgres" }, slot: settings.fetch(:slot),
  publication: "bench", logger: Logger.new(IO::NULL), **words, &handler
)
if settings[:handler] == "stamp"
  puts "ready"
  $stdin.read
elsif settings[:memory]
  sleep 0.01 while subscription.stats[:done] < settings.fetch(:events)
  rss_kib = File.read("/proc/self/status")[/^VmHWM:\s+(\d+)/, 1]
  puts Bench::Settings.format({ events: settings[:events], rss_kib: rss_kib })
else
  figures = Bench::ConsumerFigures.new(settings)
  sleep 0.002 while figures.go_on?(subscription.stats[:done])
  puts figures
end
subscription.stop(timeout: 0)

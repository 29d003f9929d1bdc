# frozen_string_literal: true

# A subscriber to channels: of RedisIPC::Events, or of redis-rb with driver=redis_rb. It measures itself from the first
# message to the last. `subscriber.rb threads=1 port=6379 channels=100 events=200000 ...`

require_relative "../settings"
require_relative "figures"

$stdout.sync = true
settings = Bench::Settings.parse(ARGV)
port = settings.fetch(:port)
channels = Array.new(settings.fetch(:channels)) { |number| "channel#{number}" }
figures = Bench::ConsumerFigures.new({ warm_up: 0, **settings })
ends = [1, settings.fetch(:events)]
count = 0
note = lambda do |payload|
  count += 1 unless payload.empty?
  next if !ends.include?(count) || figures.go_on?(count)

  puts figures
  exit!(0)
end

if settings[:driver] == "redis_rb"
  require "redis"
  Redis.new(port: port).subscribe(*channels) do |on|
    on.subscribe { |_, total| puts "ready" if total == channels.size }
    on.message { |_, payload| note.call(payload) }
  end
else
  require "logger"
  require "redis_ipc"
  lock = Mutex.new
  handlers = { single: ->(event) { lock.synchronize { note.call(event.data) } },
               batch: ->(events) { lock.synchronize { events.each { |event| note.call(event.data) } } } }
  batch = { batch: { size: settings[:batch], within: 0.05 } } if settings[:batch]
  RedisIPC::Events.consume(channel: channels, overflow: :block, redis_options: { port: port },
                           logger: Logger.new(IO::NULL), concurrency: { threads: settings.fetch(:threads) },
                           **batch.to_h, &handlers.fetch(batch ? :batch : :single))
  puts "ready"
  sleep
end

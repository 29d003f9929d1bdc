# frozen_string_literal: true

# A subscriber to channels: of RedisIPC::Events, or of redis-rb with driver=redis_rb. It measures itself from the first
# message to the last. `subscriber.rb threads=1 source=channel ports=6379 channels=100 events=200000 ...`; of channels
# of shards the ports are those of the three nodes of a cluster, and of `source=keys cluster=1`, too.

require_relative "../settings"
require_relative "figures"

$stdout.sync = true
settings = Bench::Settings.parse(ARGV)
ports = settings.fetch(:ports).to_s.split(",").map(&:to_i)
source = settings.fetch(:source)
# As those of harness/live_world.rb.
suffixes = source == "shard_channel" ? [0, 1, 3].map { |tag| ":{#{tag}}" } : [""]
channels = Array.new(settings.fetch(:channels)) { |number| "channel#{number}#{suffixes[number % suffixes.size]}" }
figures = Bench::ConsumerFigures.new({ warm_up: 0, **settings })
ends = [1, settings.fetch(:events)]
count = 0
note = lambda do |payload|
  count += 1 unless payload.empty?
  next if !ends.include?(count) || figures.go_on?(count)

  puts figures
  exit!(0)
end
lock = Mutex.new

if settings[:driver] == "redis_rb"
  require "redis"
  if source == "channel"
    Redis.new(port: ports.first).subscribe(*channels) do |on|
      on.subscribe { |_, total| puts "ready" if total == channels.size }
      on.message { |_, payload| note.call(payload) }
    end
  else
    # redis-rb 4.8 has no ssubscribe, so this is its loop without what is around it. A thread reads each node.
    left = channels.size
    slots = Redis.new(port: ports.first).call("CLUSTER", "SLOTS")
    of_port = channels.group_by do |channel|
      slot = Redis.new(port: ports.first).call("CLUSTER", "KEYSLOT", channel)
      slots.find { |first, last| slot.between?(first, last) }[2][1]
    end
    readers = of_port.map do |port, names|
      Thread.new do
        client = Redis.new(port: port)._client
        client.connect
        names.group_by { |name| name[/\{.*\}/] }.each_value { |some| client.write([:ssubscribe, *some]) }
        loop do
          kind, _, payload = client.read
          lock.synchronize { kind == "smessage" ? note.call(payload) : ((left -= 1).zero? && puts("ready")) }
        end
      end
    end
    readers.each(&:join)
  end
else
  require "logger"
  require "redis_ipc"
  handlers = { single: ->(event) { lock.synchronize { note.call(event.data) } },
               batch: ->(events) { lock.synchronize { events.each { |event| note.call(event.data) } } } }
  batch = { batch: { size: settings[:batch], within: 0.05 } } if settings[:batch]
  words = source == "keys" ? { keys: "*", on: :expired } : { source.to_sym => channels }
  place = settings[:cluster] ? { cluster: ports.map { |port| "redis://127.0.0.1:#{port}" } } : { port: ports.first }
  RedisIPC::Events.consume(overflow: :block, redis_options: place, logger: Logger.new(IO::NULL),
                           concurrency: { threads: settings.fetch(:threads) }, **words, **batch.to_h,
                           &handlers.fetch(batch ? :batch : :single))
  puts "ready"
  sleep
end

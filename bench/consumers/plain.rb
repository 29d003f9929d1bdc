# frozen_string_literal: true

# What a Ruby program without a library for it does: it reads 100 entries at once, handles each, and acknowledges them
# together (acknowledge=batch) or each for itself (acknowledge=each). `plain.rb driver=hiredis port=6379 group=g ...`

require "json"
require_relative "../settings"
require_relative "figures"

# The clients: each runs a command and returns its reply.
CLIENTS = {
  "hiredis" => lambda do |port|
    require "hiredis"
    connection = Hiredis::Connection.new
    connection.connect("127.0.0.1", port)
    lambda do |command|
      connection.write(command)
      connection.read.tap { |reply| raise reply if reply.is_a?(Exception) }
    end
  end,
  "redis_client" => lambda do |port|
    require "redis_client"
    client = RedisClient.config(host: "127.0.0.1", port: port, protocol: 2).new_client
    ->(command) { client.blocking_call_v(nil, command) }
  end,
  "redis_rb" => lambda do |port|
    require "redis"
    client = Redis.new(host: "127.0.0.1", port: port, timeout: 60)
    ->(command) { client.call(command) }
  end
}.freeze

$stdout.sync = true
settings = Bench::Settings.parse(ARGV)
group = settings.fetch(:group)
call = CLIENTS.fetch(settings.fetch(:driver)).call(settings.fetch(:port))

begin
  call.call(["XGROUP", "CREATE", "events", group, "0", "MKSTREAM"])
rescue StandardError => e
  raise unless e.message.start_with?("BUSYGROUP")
end

stamp = settings.fetch(:handler) == "stamp"
each = settings.fetch(:acknowledge) == "each"
handle = lambda do |entry|
  data = JSON.parse(Hash[*entry[1]]["data"])
  $stdout.write("#{Process.clock_gettime(Process::CLOCK_MONOTONIC, :nanosecond)}\n") if stamp
  data["number"]
  call.call(["XACK", "events", group, entry[0]]) if each
end
puts "ready" if stamp
figures = Bench::ConsumerFigures.new(settings)
done = 0
read = ["XREADGROUP", "GROUP", group, "one", "COUNT", "100", "BLOCK", "5000", "STREAMS", "events", ">"]
while stamp || figures.go_on?(done)
  reply = call.call(read) or next
  entries = reply[0][1]
  entries.each(&handle)
  call.call(["XACK", "events", group, *entries.map(&:first)]) unless each
  done += entries.size
end
puts figures

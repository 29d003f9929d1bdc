# frozen_string_literal: true

# The Ruby counterpart of examples/python/stream_demo.py and examples/node/stream_demo.mjs.
require "json"
require "redis_ipc"

$stdout.sync = true
name, group, serve = ARGV
stream = RedisIPC::Stream.new(name, group)
if serve
  stream.on_request do |entry|
    case entry.content[:do]
    when "reject" then next reject_request(entry, content: entry.content[:reason])
    when "wait"
      puts "started"
      sleep(ENV.fetch("SECONDS", 0).to_f)
    end
    fulfill_request(entry, content: { by: "ruby #{Process.pid}", value: entry.content[:value] })
  end
end
stream.connect

def ask(stream, request)
  response = stream.send_to_group(content: request["content"], to: request["to"], timeout: request["timeout"])
  response.fulfilled? ? { value: response.value } : { rejected: response.reason }
rescue RedisIPC::TimeoutError => e
  { timeout: e.outcome }
end

puts "ready"
while (line = $stdin.gets)
  puts JSON.generate(ask(stream, JSON.parse(line)))
end
stream.disconnect(timeout: 0)

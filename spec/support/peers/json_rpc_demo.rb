# frozen_string_literal: true

# The Ruby counterpart of examples/python/json_rpc_demo.py and examples/node/json_rpc_demo.mjs.
require "json"
require "redis_ipc"

$stdout.sync = true
queue, serve = ARGV
if serve
  server = RedisIPC::JSONRPC::Server.new(queue)
  server.on("subtract") { |minuend, subtrahend| minuend - subtrahend }
  server.on("echo") { |value| { by: "ruby #{Process.pid}", value: value } }
  server.on("refuse") { |reason| raise RedisIPC::JSONRPC::Error.new("refused", code: 1000, data: reason) }
  server.on("wait") do
    puts "started"
    sleep(ENV.fetch("SECONDS", 0).to_f)
    { by: "ruby #{Process.pid}", value: nil }
  end
  server.connect
  puts "ready"
  sleep
end

client = RedisIPC::JSONRPC::Client.new(queue).connect

def call(client, request)
  { value: client.request(request["method"], request["params"], timeout: request["timeout"]) }
rescue RedisIPC::JSONRPC::Error => e
  { rejected: e.to_h }
rescue RedisIPC::TimeoutError => e
  { timeout: e.outcome }
end

puts "ready"
while (line = $stdin.gets)
  puts JSON.generate(call(client, JSON.parse(line)))
end
client.disconnect

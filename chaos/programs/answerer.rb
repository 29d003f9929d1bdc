# frozen_string_literal: true

# An answering process: says what it was asked, and by whom it is answered.

require "redis_ipc"
require_relative "../journal"
require_relative "../watch"

settings = JSON.parse(ARGV.fetch(0), symbolize_names: true)
journal = Chaos::Journal.new(settings[:journal])
work = settings[:work]

stream = RedisIPC::Stream.new("house", "answerer")
stream.on_request do |entry|
  id = entry.content[:id]
  journal.ran(id)
  sleep work
  fulfill_request(entry, content: { id: id, echo: entry.content[:nonce], pid: Process.pid })
end
stream.on_error { |error| journal.told(error) }
stream.connect(redis_options: settings[:redis_options])
watcher = Chaos.watch(stream, journal)

$stdout.puts("ready")
$stdout.flush
$stdin.gets
watcher.kill.join
journal.stats(stream.stats)
stream.disconnect(timeout: 2)

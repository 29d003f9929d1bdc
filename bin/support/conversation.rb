# frozen_string_literal: true

# Lets two processes talk by an installed gem, through a Redis of their own. Prints one line.
require "redis_ipc"
require "tmpdir"

Dir.mktmpdir do |folder|
  socket = File.join(folder, "redis.sock")
  redis = Process.spawn("redis-server", "--port", "0", "--unixsocket", socket, "--save", "", out: File::NULL)
  sleep 0.05 until File.exist?(socket)
  options = { redis_options: { path: socket } }
  answerer = fork do
    stream = RedisIPC::Stream.new("house", "child")
    stream.on_request { |entry| fulfill_request(entry, content: { pid: Process.pid, said: entry.content }) }
    stream.connect(**options)
    sleep
  end
  parent = RedisIPC::Stream.new("house", "parent").connect(**options)
  value = parent.send_to_group(content: "hello", to: "child", timeout: 20).value
  raise "unexpected: #{value}" unless value == { pid: answerer, said: "hello" }

  library = $LOADED_FEATURES.grep(/redis_ipc\.so\z/).first
  puts "Ruby #{RUBY_VERSION}: answered by process #{answerer}, with #{library}"
ensure
  parent&.disconnect
  [answerer, redis].compact.each { |pid| Process.kill(:TERM, pid) && Process.wait(pid) }
end

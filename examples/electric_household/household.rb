# frozen_string_literal: true

# Runs the parent and the child, each in a process of its own, with a throwaway Redis if REDIS_URL is unset.
require "English"
require "rbconfig"
require "socket"
require "tmpdir"

LIBRARY = File.expand_path("../../lib", __dir__)

def ruby(script, environment, **streams)
  Process.spawn(environment, RbConfig.ruby, "-I#{LIBRARY}", File.join(__dir__, script), **streams)
end

def with_redis
  return yield(ENV.fetch("REDIS_URL")) if ENV["REDIS_URL"]

  Dir.mktmpdir("electric_household") do |folder|
    socket = File.join(folder, "redis.sock")
    server = Process.spawn("redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--dir", folder,
                           out: File::NULL)
    begin
      await_redis(socket)
      yield "unix://#{socket}"
    ensure
      Process.kill(:TERM, server)
      Process.wait(server)
    end
  end
end

def await_redis(socket)
  attempts = 0
  UNIXSocket.open(socket) { |connection| connection.puts("PING") || connection.gets }
rescue SystemCallError
  raise if (attempts += 1) > 500

  sleep 0.01
  retry
end

def with_child(environment)
  child_input, door = IO.pipe
  child_output, output = IO.pipe
  child = ruby("child.rb", environment, in: child_input, out: output)
  output.close
  raise "the child did not start" unless child_output.gets == "ready\n"

  yield
ensure
  door&.close
  Process.wait(child) if child
end

with_redis do |url|
  environment = { "REDIS_URL" => url }
  with_child(environment) do
    Process.wait(ruby("parent.rb", environment))
    exit($CHILD_STATUS.exitstatus || 1) unless $CHILD_STATUS.success?
  end
end

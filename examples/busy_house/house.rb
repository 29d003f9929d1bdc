# frozen_string_literal: true

# Runs a house with a healthy group, a slow one, one that a request kills, and a consumer that loses events; and the
# page that shows all of it. Prints the page's address, and runs until Ctrl-C. It uses a throwaway Redis if REDIS_URL is
# unset. PORT is where the page listens; a free port is found without it.
require "rbconfig"
require "redis_ipc/web"
require "socket"
require "tmpdir"

LIBRARY = File.expand_path("../../lib", __dir__)
PROCESSES = %w[kitchen kitchen bakery toaster toaster parent billing shop calculator].freeze

def with_redis
  return yield(ENV.fetch("REDIS_URL")) if ENV["REDIS_URL"]

  Dir.mktmpdir("busy_house") do |folder|
    socket = File.join(folder, "redis.sock")
    server = Process.spawn("redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--dir", folder,
                           out: File::NULL, pgroup: true)
    sleep 0.01 until answers?(socket)
    yield "unix://#{socket}"
  ensure
    Process.kill(:TERM, server) && Process.wait(server) if server
  end
end

def answers?(socket)
  UNIXSocket.open(socket) { |connection| connection.puts("PING") || connection.gets }
rescue SystemCallError
  false
end

def start(role, url)
  Process.spawn({ "REDIS_URL" => url }, RbConfig.ruby, "-I#{LIBRARY}", File.join(__dir__, "roles.rb"), role,
                pgroup: true)
end

# A supervisor starts a process again that has died.
def keep_running(url)
  pids = PROCESSES.to_h { |role| [start(role, url), role] }
  supervisor = Thread.new do
    loop do
      sleep 0.2
      dead = pids.keys.select { |pid| Process.wait(pid, Process::WNOHANG) }
      dead.each do |pid|
        role = pids.delete(pid)
        pids[start(role, url)] = role
      end
    end
  end
  yield
ensure
  supervisor&.kill&.join
  stop(pids.to_h.keys)
end

def stop(pids)
  Process.kill(:TERM, *pids) unless pids.empty?
  pids.each { |pid| Process.wait(pid) }
end

$stdout.sync = true
%w[INT TERM].each { |signal| trap(signal) { Thread.main.raise(Interrupt) } }
begin
  with_redis do |url|
    keep_running(url) do
      RedisIPC::Web.serve(port: Integer(ENV.fetch("PORT", 0)), streams: %w[house], queues: %w[calculator],
                          consumers: %w[orders], actions: true, content: true, redis_options: { url: url }) do |page|
        puts "The busy house is at #{page} (Ctrl-C ends it)"
      end
    end
  end
rescue Interrupt
  nil
end

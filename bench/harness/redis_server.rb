# frozen_string_literal: true

require "redis"
require "socket"
require "tmpdir"

module Bench
  # A redis-server of the measurement, on a free TCP port.
  class RedisServer
    attr_reader :port, :pid

    def initialize
      @folder = Dir.mktmpdir("redis_ipc_bench")
      attempts = 5
      until start
        attempts -= 1
        raise "redis-server did not start: #{log}" if attempts.zero?
      end
    end

    def client
      @client ||= Redis.new(host: "127.0.0.1", port: port)
    end

    # Returns how many commands clients have sent; INFO itself is not counted.
    def commands
      client.info("commandstats").sum { |name, stats| name == "info" ? 0 : stats["calls"].to_i }
    end

    def stop
      client.close
      Process.kill(:KILL, pid)
      Process.wait(pid)
      FileUtils.remove_entry(@folder, true)
    end

    private

    def start
      @port = free_port
      arguments = { port: port, bind: "127.0.0.1", dir: @folder, save: "", appendonly: "no" }
      options = arguments.flat_map { |name, value| ["--#{name}", value.to_s] }
      @pid = Process.spawn("redis-server", *options, in: :close, %i[out err] => File.join(@folder, "log"))
      sleep 0.01 until ready? || (ended = Process.wait(pid, Process::WNOHANG))
      !ended
    end

    # Another process may take the port in between; then another port is tried.
    def free_port
      server = TCPServer.new("127.0.0.1", 0)
      server.addr[1]
    ensure
      server&.close
    end

    def ready?
      TCPSocket.open("127.0.0.1", port) do |socket|
        socket.write("PING\r\n")
        socket.gets.to_s.start_with?("+PONG")
      end
    rescue SystemCallError
      false
    end

    def log
      File.read(File.join(@folder, "log"))
    end
  end
end

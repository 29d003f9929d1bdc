# frozen_string_literal: true

require "fileutils"
require "redis"
require "socket"
require "timeout"
require "tmpdir"

# A redis-server process that belongs to the suite, on a free port and a unix socket.
class RedisServer
  class << self
    # Returns the server that most examples use, emptied before each.
    def shared
      @shared ||= new
    end

    def stop_shared
      @shared&.stop
    end

    # Returns a plain client, which shows Redis from outside. Specs expect the replies of RESP2; redis-rb 6 asks for
    # RESP3.
    def client(**options)
      Redis.new(protocol: 2, **options)
    end

    def free_port
      server = TCPServer.new("127.0.0.1", 0)
      server.addr[1]
    ensure
      server&.close
    end
  end

  attr_reader :port, :path, :pid

  def initialize(**settings)
    @folder = Dir.mktmpdir("redis_ipc_spec")
    @path = File.join(@folder, "redis.sock")
    @settings = settings
    start
  end

  # Starts the process. Returns when it is ready, unless `wait` is false.
  def start(wait: true)
    attempts ||= 0
    @port ||= self.class.free_port
    log = File.join(@folder, "log")
    @pid = Process.spawn(*command, *arguments, in: :close, out: log, err: log)
    wait_until_ready if wait
  rescue StartFailed
    # Another process took the port in the meantime.
    @port = nil
    (attempts += 1) < 5 ? retry : raise
  rescue Timeout::Error
    kill
    raise
  end

  # Kills the process, like a crash. `start` starts it again.
  def kill
    @client&.close
    @client = nil
    %i[KILL CONT].each { |signal| Process.kill(signal, @pid) }
    Process.wait(@pid)
    @pid = nil
  end

  def stop
    kill if @pid
    FileUtils.remove_entry(@folder, true)
  end

  # Changes settings from the next start on.
  def configure(**settings)
    @settings = @settings.merge(settings)
  end

  # Returns the first line of the reply to PING, or nil if the server cannot be reached.
  def ping
    UNIXSocket.open(path) do |socket|
      socket.write("PING\r\n")
      socket.gets&.chomp
    end
  rescue SystemCallError
    nil
  end

  # Returns a plain client, which shows Redis from outside.
  def client
    @client ||= RedisServer.client(path: path, password: @settings[:requirepass])
  end

  def flush
    client.flushall
  end

  def url
    "redis://127.0.0.1:#{port}/0"
  end

  StartFailed = Class.new(StandardError)

  private

  def arguments
    defaults = { port: port, bind: "127.0.0.1", unixsocket: path, dir: @folder, save: "", appendonly: "no" }
    defaults.merge(@settings).flat_map { |name, value| ["--#{name.to_s.tr("_", "-")}", *Array(value).map(&:to_s)] }
  end

  def command
    ["redis-server"]
  end

  def wait_until_ready
    Timeout.timeout(10) do
      until ready?
        raise StartFailed, File.read(File.join(@folder, "log")) if Process.wait(@pid, Process::WNOHANG)

        sleep 0.01
      end
    end
  end

  def ready?
    ping.to_s.start_with?("+PONG", "-NOAUTH")
  end
end

# frozen_string_literal: true

require "fileutils"
require "tmpdir"

# A sentinel that watches a master, and starts a failover when it is told to.
class RedisSentinel
  NAME = "mymaster"

  # @param master [RedisServer] a server with a replica
  def initialize(master)
    @port = RedisServer.free_port
    @folder = Dir.mktmpdir("redis_ipc_sentinel")
    file = File.join(@folder, "sentinel.conf")
    File.write(file, <<~CONF)
      port #{@port}
      dir #{@folder}
      sentinel monitor #{NAME} 127.0.0.1 #{master.port} 1
      sentinel down-after-milliseconds #{NAME} 60000
    CONF
    @pid = Process.spawn("redis-server", file, "--sentinel", out: File::NULL, err: File::NULL)
  end

  def redis_options
    { name: NAME, sentinels: [{ host: "127.0.0.1", port: @port }], role: :master }
  end

  # Asks for a failover. Returns whether the sentinel begins one; it does not before it knows that the replica is in
  # sync.
  def fail_over?
    call("SENTINEL", "FAILOVER", NAME) == "OK"
  rescue Redis::CommandError
    false
  end

  # Has it watch another master under the same name.
  def watch(master)
    call("SENTINEL", "REMOVE", NAME)
    call("SENTINEL", "MONITOR", NAME, "127.0.0.1", master.port, 1)
  end

  # Whether it answers, and knows a replica.
  def ready?
    call("SENTINEL", "REPLICAS", NAME).any?
  rescue Redis::BaseError
    false
  end

  def stop
    Process.kill(:KILL, @pid)
    Process.wait(@pid)
    FileUtils.remove_entry(@folder)
  end

  private

  def call(*command)
    (@client ||= RedisServer.client(host: "127.0.0.1", port: @port)).call(*command)
  end
end

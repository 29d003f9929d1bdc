# frozen_string_literal: true

require "redis"
require "timeout"
require_relative "proxy"
require_relative "../spec/support/redis_server"

module Chaos
  # The servers of a row. This one is a single server, reached by TCP.
  class Place
    attr_reader :server

    # Makes a place whose server keeps what it confirmed.
    def self.durable
      new(appendonly: "yes", appendfsync: "always")
    end

    def initialize(server: nil, **settings)
      @server = server || RedisServer.new(**settings)
    end

    # Returns the options that the workers connect with.
    def redis_options
      { host: "127.0.0.1", port: server.port }
    end

    # Returns those of the consumers of a row of events, which are numbered from 0 on.
    def options_of(_number)
      redis_options
    end

    # Returns a client that no worker uses.
    def admin
      server.client
    end

    # Returns the servers that clients use.
    def servers
      [server]
    end

    # Returns how many commands the server has run.
    def commands
      admin.info("stats").fetch("total_commands_processed").to_i
    rescue Redis::BaseError, SystemCallError
      nil
    end

    def stop
      server.stop
    end
  end

  # One server behind a proxy.
  class ProxiedPlace < Place
    attr_reader :proxy

    def initialize(**)
      super
      @proxy = Proxy.new(server.port)
    end

    def redis_options
      super.merge(port: proxy.port)
    end

    def stop
      proxy.stop
      super
    end
  end

  # One server, to which the first consumer of events has a way of its own.
  class PartedPlace < ProxiedPlace
    def redis_options
      { host: "127.0.0.1", port: server.port }
    end

    def options_of(number)
      number.zero? ? { host: "127.0.0.1", port: proxy.port } : super
    end
  end

  # A place whose workers log in as a user with rights of its own.
  module Guarded
    USER = "worker"
    RIGHTS = %w[on >secret ~* &* +@all].freeze

    def admit
      admin.call("ACL", "SETUSER", USER, *RIGHTS)
    end

    def redis_options
      super.merge(username: USER, password: "secret")
    end
  end

  # One server with such a user.
  class GuardedPlace < Place
    include Guarded

    def initialize(**)
      super
      admit
    end
  end

  # One server whose password is rotated. The workers read it from a file.
  class RotatingPlace < Place
    def initialize(**)
      @folder = Dir.mktmpdir("redis_ipc_password")
      @file = File.join(@folder, "password")
      @number = 0
      write
      super(requirepass: password)
    end

    def redis_options
      super.merge(password_file: @file)
    end

    # Sets another password and closes every connection, so that all have to log in with it.
    def rotate
      @number += 1
      write
      admin.call("CONFIG", "SET", "requirepass", password)
      admin.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    end

    def stop
      super
      FileUtils.remove_entry(@folder)
    end

    private

    def password
      "secret #{@number}"
    end

    # Renames the new file into place, so that a worker reads one of the two passwords.
    def write
      File.write("#{@file}.new", password)
      File.rename("#{@file}.new", @file)
    end
  end

  # A master and a replica behind one address, which a proxy moves from one to the other. Another proxy is between the
  # two.
  class ReplicatedPlace < ProxiedPlace
    attr_reader :replica, :link

    def initialize(**settings)
      super
      @link = Proxy.new(server.port)
      @replica = start_replica(**settings, replicaof: ["127.0.0.1", link.port], repl_diskless_sync_delay: 0)
      Chaos.eventually { replica.client.info("replication")["master_link_status"] == "up" }
    end

    # Makes the replica the master, and moves the address to it.
    def promote
      proxy.target = replica.port
      replica.client.call("REPLICAOF", "NO", "ONE")
      proxy.cut
    end

    def admin
      server.pid ? super : replica.client
    end

    def stop
      link.stop
      replica.stop
      super
    end

    private

    def start_replica(**settings)
      RedisServer.new(**settings)
    end
  end

  # A master and a replica that sentinels watch.
  class WatchedPlace < Place
    attr_reader :replica

    # @param stale [Boolean] whether the first sentinel always names the first master
    def initialize(sentinels: 1, stale: false, **settings)
      super(**settings)
      @stale = (StaleSentinel.new(server.port) if stale)
      @replica = RedisServer.new(**settings, replicaof: ["127.0.0.1", server.port], repl_diskless_sync_delay: 0)
      @folder = Dir.mktmpdir("redis_ipc_sentinel")
      @sentinel_ports = Array.new(sentinels) { RedisServer.free_port }
      @watchers = @sentinel_ports.map { |port| watch(port) }
      await_sentinels(sentinels)
    end

    def redis_options
      ports = [@stale&.port, *@sentinel_ports].compact
      { name: "chaos", sentinels: ports.map { |port| { host: "127.0.0.1", port: port } }, role: "master" }
    end

    # Returns how often the stale sentinel was asked.
    def stale_answers
      @stale.answers
    end

    # Returns a client of the last sentinel.
    def sentinel
      @sentinel ||= RedisServer.client(host: "127.0.0.1", port: @sentinel_ports.last)
    end

    # Sends a signal to the first sentinel, which clients ask first.
    def signal_first_sentinel(signal)
      Process.kill(signal, @watchers.first)
    end

    # Returns the port of the server that the sentinel calls the master, once that server is one.
    def master_port
      port = sentinel.call("SENTINEL", "get-master-addr-by-name", "chaos").last.to_i
      port if RedisServer.client(host: "127.0.0.1", port: port).info("replication")["role"] == "master"
    rescue Redis::BaseError
      nil
    end

    def admin
      server.pid ? super : replica.client
    end

    def stop
      @stale&.stop
      @watchers.each do |watcher|
        Process.kill(:KILL, watcher)
        Process.wait(watcher)
      end
      FileUtils.remove_entry(@folder)
      replica.stop
      super
    end

    private

    def await_sentinels(count)
      Chaos.eventually { replica.client.info("replication")["master_link_status"] == "up" }
      # A sentinel looks for replicas every 10 s.
      Chaos.eventually(timeout: 30) { sentinel.call("SENTINEL", "REPLICAS", "chaos").any? }
      Chaos.eventually(timeout: 30) { sentinel.call("SENTINEL", "SENTINELS", "chaos").size == count - 1 }
    end

    def watch(port)
      Process.spawn("redis-server", configuration(port), "--sentinel", out: File::NULL, err: File::NULL)
    end

    def configuration(port)
      File.join(@folder, "sentinel-#{port}.conf").tap do |file|
        File.write(file, <<~CONF)
          port #{port}
          dir #{@folder}
          sentinel monitor chaos 127.0.0.1 #{server.port} 1
          sentinel down-after-milliseconds chaos 500
          sentinel failover-timeout chaos 5000
        CONF
      end
    end
  end
end

# frozen_string_literal: true

require "open3"

module Chaos
  # A server in a network of its own whose link can be taken down (Linux network namespaces).
  class DistantPlace < Place
    # A redis-server in that network.
    class DistantServer < RedisServer
      def initialize(namespace, **settings)
        @namespace = namespace
        super(**settings)
      end

      private

      def command
        ["ip", "netns", "exec", @namespace, "redis-server"]
      end
    end

    # Addresses of 198.18.0.0/15, which is for tests of networks (RFC 2544).
    NEAR = "198.18.77.1"
    FAR = "198.18.77.2"

    def initialize(**settings)
      @namespace = "redis_ipc_#{Process.pid}"
      @cable = "rci#{Process.pid}"
      lay_cable
      super(server: DistantServer.new(@namespace, **settings, bind: "0.0.0.0", protected_mode: "no"))
    end

    def redis_options
      { host: FAR, port: server.port }
    end

    # Takes the link down ("down") or up ("up").
    def link(state)
      ip("link", "set", @cable, state)
    end

    def stop
      super
    ensure
      remove
    end

    private

    def lay_cable
      ip("netns", "add", @namespace)
      ip("link", "add", @cable, "type", "veth", "peer", "name", "far", "netns", @namespace)
      ip("address", "add", "#{NEAR}/30", "dev", @cable)
      ip("link", "set", @cable, "up")
      ip("-n", @namespace, "address", "add", "#{FAR}/30", "dev", "far")
      ip("-n", @namespace, "link", "set", "far", "up")
      ip("-n", @namespace, "link", "set", "lo", "up")
    rescue Scene::Impossible
      remove
      raise
    end

    def remove
      system("ip", "netns", "delete", @namespace, err: File::NULL)
      system("ip", "link", "delete", @cable, err: File::NULL)
    end

    def ip(*arguments)
      said, status = Open3.capture2e("ip", *arguments)
      return if status.success?

      raise Scene::Impossible, "no network namespaces here (root and iproute2 are needed): #{said.strip}"
    rescue Errno::ENOENT
      raise Scene::Impossible, "the command ip (iproute2) is missing"
    end
  end
end

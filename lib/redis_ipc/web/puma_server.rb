# frozen_string_literal: true

module RedisIPC
  class Web
    # Puma, within this process and without its configuration files.
    # @api private
    module PumaServer
      # @return [Boolean]
      def self.available?
        require "puma"
        true
      rescue LoadError
        false
      end

      # @param app [#call]
      # @param host [String]
      # @param port [Integer]
      # @yieldparam port [Integer] the one that it listens on
      def self.run(app, host, port)
        require "puma"
        require "puma/server"
        server = ::Puma::Server.new(app)
        server.add_tcp_listener(host, port)
        thread = server.run
        yield server.connected_ports.first
        thread.join
      ensure
        server&.stop(true)
      end
    end
  end
end

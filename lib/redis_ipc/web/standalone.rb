# frozen_string_literal: true

require "ipaddr"

module RedisIPC
  class Web
    # Runs the page in a web server of its own.
    # @api private
    class Standalone
      HERE = %w[localhost 127.0.0.1 [::1]].freeze
      private_constant :HERE

      # @param host [String]
      # @param port [Integer]
      def initialize(host, port)
        @host = host
        @port = port
      end

      # @param options [Hash] of {Web#initialize}
      # @yieldparam url [String]
      # @return [nil]
      def run(options, &listening)
        server = choose
        web = Web.new(hosts: ([*HERE, shown_host] if loopback?), **options)
        server.run(web, @host, @port) { |port| listening&.call("http://#{shown_host}:#{port}/") }
        nil
      ensure
        web&.close
      end

      private

      # A server that the process has loaded already is preferred.
      def choose
        return PumaServer if defined?(::Puma)
        return WebrickServer if defined?(::WEBrick)

        [PumaServer, WebrickServer].find(&:available?) ||
          raise(ConfigurationError, Strings.text(:no_web_server))
      end

      def loopback?
        @host == "localhost" || IPAddr.new(@host).loopback?
      rescue IPAddr::Error
        false
      end

      def shown_host
        @host.include?(":") ? "[#{@host}]" : @host
      end
    end
  end
end

# frozen_string_literal: true

require "socket"

module Chaos
  # A sentinel that learns of no failover, and always names the same master. A real one would learn from the others.
  class StaleSentinel
    attr_reader :port
    # The number of times that it named the master.
    attr_reader :answers

    # @param master [Integer] the port of that server
    def initialize(master)
      @master = master
      @answers = 0
      @listener = TCPServer.new("127.0.0.1", 0)
      @port = @listener.addr[1]
      @acceptor = Thread.new { loop { Thread.new(@listener.accept) { |client| serve(client) } } }
    end

    def stop
      @acceptor.kill
      @listener.close
    end

    private

    def serve(client)
      while (command = read(client))
        client.write(reply(command.map(&:downcase)))
      end
    rescue IOError, SystemCallError
      nil
    ensure
      client.close
    end

    def read(client)
      count = client.gets&.slice(/\A\*(\d+)/, 1) or return
      Array.new(count.to_i) { client.read(client.gets.slice(/\d+/).to_i + 2).chomp }
    end

    def reply(command)
      case command
      in ["ping", *] then "+PONG\r\n"
      in ["sentinel", "get-master-addr-by-name", *] then list("127.0.0.1", @master).tap { @answers += 1 }
      in ["sentinel", "master", *]
        list("name", "chaos", "ip", "127.0.0.1", "port", @master, "flags", "master", "config-epoch", 0)
      in ["client" | "auth" | "select", *] then "+OK\r\n"
      else "-ERR unknown command\r\n"
      end
    end

    def list(*items)
      "*#{items.size}\r\n#{items.map { |item| "$#{item.to_s.bytesize}\r\n#{item}\r\n" }.join}"
    end
  end
end

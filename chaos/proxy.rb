# frozen_string_literal: true

require "socket"

module Chaos
  # A TCP proxy that can be told to misbehave, on all of its connections, old and new.
  class Proxy
    attr_reader :port
    # The port to which new connections lead.
    attr_writer :target

    def initialize(target)
      @target = target
      @mode = [:pass]
      @pairs = []
      @abandoned = []
      @stranded = []
      @lock = Mutex.new
      @listener = TCPServer.new("127.0.0.1", 0)
      @port = @listener.addr[1]
      @acceptor = Thread.new { accept }
    end

    # Sets the mode: `:pass`, `:drop` (no byte passes, nothing is closed), `:dribble` (byte by byte), `:delay`. What was
    # not let through passes later, as TCP would send it again.
    # @param value [Symbol, Float] of `:drop`: whose bytes, `:client`, `:server` or `:both`; of `:delay`: seconds
    def behave(mode, value = :both)
      @mode = [mode, value]
    end

    # Lets no byte pass on the connections that there are, for good. Nothing is closed, and new ones work.
    def strand
      @stranded = pairs.flatten
    end

    # Resets every connection.
    def cut
      pairs.flatten.each do |socket|
        socket.setsockopt(Socket::SOL_SOCKET, Socket::SO_LINGER, [1, 0].pack("ii"))
        socket.close
      rescue IOError, SystemCallError
        nil
      end
    end

    # Ends one direction of every connection: bytes of the silenced side pass no more, and the other side sees the end.
    def half_close(silenced)
      pairs.each do |client, server|
        (silenced == :client ? server : client).close_write
      rescue IOError, SystemCallError
        nil
      end
    end

    # Closes every connection to clients. The server does not see it, so commands in flight go on.
    def abandon
      @lock.synchronize { @abandoned.concat(@pairs.map(&:last)) }
      pairs.each { |client, _| client.close }
    end

    def stop
      @acceptor.kill
      @listener.close
      cut
      @abandoned.each(&:close)
    end

    private

    def pairs
      @lock.synchronize do
        @pairs.reject! { |pair| pair.any?(&:closed?) }
        @pairs.dup
      end
    end

    def accept
      loop do
        client = @listener.accept
        Thread.new { connect(client) }
      end
    end

    def connect(client)
      server = TCPSocket.new("127.0.0.1", @target)
      [client, server].each { |socket| socket.setsockopt(Socket::IPPROTO_TCP, Socket::TCP_NODELAY, 1) }
      @lock.synchronize { @pairs << [client, server] }
      ways = [[client, server, :client], [server, client, :server]]
      ways.map { |from, to, side| Thread.new { pump(from, to, side) } }.each(&:join)
    rescue SystemCallError
      nil
    ensure
      close(client, server)
    end

    def close(*sockets)
      sockets.each { |socket| socket&.close unless @abandoned.include?(socket) }
    end

    def pump(from, to, side)
      loop { pass(from.readpartial(65_536), to, side) }
    rescue EOFError
      close_write(to)
    rescue IOError, SystemCallError
      close(from, to)
    end

    def close_write(socket)
      socket.close_write
    rescue IOError, SystemCallError
      nil
    end

    def pass(bytes, to, side)
      sleep 0.005 while drops?(side) || @stranded.include?(to)
      mode, value = @mode
      return bytes.each_char { |byte| to.write(byte) } if mode == :dribble

      sleep value if mode == :delay
      to.write(bytes)
    end

    def drops?(side)
      mode, whose = @mode
      mode == :drop && [side, :both].include?(whose)
    end
  end
end

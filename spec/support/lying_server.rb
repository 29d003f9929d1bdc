# frozen_string_literal: true

require "socket"

# Passes everything on to a real server and back, until it is told to reply something else.
class LyingServer
  attr_reader :port

  # The reply to send in place of every reply from now on, or a proc that makes it of the real one. It is a String, or
  # the pieces in which it is sent (an Enumerator may wait between them).
  attr_accessor :lie

  # `path` is the socket of the real server.
  def initialize(path, listener: TCPServer.new("127.0.0.1", 0))
    @path = path
    @server = listener
    @port = @server.addr[1]
    @sockets = Queue.new
    @thread = Thread.new { loop { serve(@server.accept) } }
  end

  def stop
    @thread.kill.join
    @server.close
    @sockets.pop.close until @sockets.empty?
  end

  private

  def serve(client)
    redis = UNIXSocket.new(@path)
    [client, redis].each { |socket| @sockets << socket }
    connect(client, redis)
  end

  def connect(client, redis)
    relay(client, redis) { |bytes| bytes }
    relay(redis, client) { |bytes| said(bytes) }
  end

  def said(bytes)
    lie = @lie
    lie.respond_to?(:call) ? lie.call(bytes) : lie || bytes
  end

  def relay(from, to)
    Thread.new do
      loop { pieces(yield(from.readpartial(65_536))).each { |piece| to.write(piece) } }
    rescue IOError, SystemCallError
      # One side has closed, so the other is closed, too.
      [from, to].each(&:close)
    end
  end

  def pieces(said)
    said.is_a?(String) ? [said] : said
  end
end

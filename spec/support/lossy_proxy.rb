# frozen_string_literal: true

require "socket"

# Passes everything on to a real server and back, and breaks a connection just when it matters: the server has run a
# command, and its reply does not arrive.
class LossyProxy
  # What was lost: the replies, as they were on the wire.
  attr_reader :lost

  def initialize(path)
    @path = path
    @server = TCPServer.new("127.0.0.1", 0)
    @sockets = Queue.new
    @lost = Queue.new
    @thread = Thread.new { loop { serve(@server.accept) } }
  end

  def url
    "redis://127.0.0.1:#{@server.addr[1]}/0"
  end

  # Once: the next reply on a connection that sent this command and matches.
  def lose_reply_to(command, matching: //)
    @loss = [/\r\n#{command}\r\n/i, matching]
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
    sent = "".b
    relay(client, redis) { |bytes| sent.replace(bytes) }
    relay(redis, client) { |bytes| lose(sent, bytes) || bytes }
  end

  def lose(sent, reply)
    command, matching = @loss
    return unless command&.match?(sent) && matching.match?(reply)

    @loss = nil
    @lost << reply
    raise IOError, "the connection is broken on purpose"
  end

  def relay(from, to)
    Thread.new do
      loop { to.write(yield(from.readpartial(65_536))) }
    rescue IOError, SystemCallError
      # One side is gone, so the other goes.
      [from, to].each(&:close)
    end
  end
end

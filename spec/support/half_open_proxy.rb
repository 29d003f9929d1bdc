# frozen_string_literal: true

require_relative "lying_server"

# Passes everything on to a real server and back. It can end connections for their clients while the server goes on
# believing in them, as after a power cut between the two.
class HalfOpenProxy < LyingServer
  def initialize(path)
    @abandoned = {}
    @clients = Queue.new
    super
  end

  # Ends every connection for its client. The server is not told: what a client left there goes on.
  def abandon
    until @clients.empty?
      client, redis = @clients.pop
      @abandoned[redis] = true
      client.close
    end
  end

  private

  def connect(client, redis)
    @clients << [client, redis]
    super
  end

  def relay(from, to)
    Thread.new do
      loop { to.write(from.readpartial(65_536)) }
    rescue IOError, SystemCallError
      [from, to].each { |socket| socket.close unless @abandoned[socket] }
    end
  end
end

# frozen_string_literal: true

require_relative "lying_server"

# Passes everything on to a real server and back. Breaks a connection when the server has run a command, before the
# reply arrives.
class LossyProxy < LyingServer
  # The lost replies, as bytes.
  attr_reader :lost

  def initialize(path)
    @lost = Queue.new
    super
  end

  def url
    "redis://127.0.0.1:#{port}/0"
  end

  # Loses the next `times` replies on connections that sent this command, if they match. After each loss no connection
  # can be opened for `outage` seconds.
  def lose_reply_to(command, matching: //, times: 1, outage: 0)
    @outage = outage
    @times = times
    @loss = [/\r\n#{command}\r\n/i, matching]
  end

  private

  def connect(client, redis)
    return [client, redis].each(&:close) if away?

    sent = "".b
    relay(client, redis) { |bytes| sent.replace(bytes) }
    relay(redis, client) { |bytes| lose(sent, bytes) || bytes }
  end

  def lose(sent, reply)
    command, matching = @loss
    return unless command&.match?(sent) && matching.match?(reply)

    @loss = nil if (@times -= 1).zero?
    @back = clock + @outage
    @lost << reply
    raise IOError, "the connection is broken on purpose"
  end

  def away?
    !@back.nil? && clock < @back
  end

  def clock
    Process.clock_gettime(Process::CLOCK_MONOTONIC)
  end
end

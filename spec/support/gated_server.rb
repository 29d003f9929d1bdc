# frozen_string_literal: true

require "tmpdir"
require_relative "lying_server"

# Passes everything on to a real server and back, by a unix socket, whose buffers are small. While there is a gate, the
# bytes of clients wait at it.
class GatedServer < LyingServer
  # The gate is a Queue with an action (:pass or :cut) for each piece that holds a gated command. Without a gate (nil)
  # no piece waits.
  attr_accessor :gate

  # Gets an element for each piece that arrived at the gate.
  attr_reader :arrivals

  def initialize(path, commands:)
    @folder = Dir.mktmpdir("redis_ipc_gate")
    @own_path = File.join(@folder, "redis.sock")
    @commands = commands
    @arrivals = Queue.new
    super(path, listener: UNIXServer.new(@own_path))
  end

  def redis_options
    { path: @own_path }
  end

  def stop
    super
    FileUtils.remove_entry(@folder)
  end

  private

  def connect(client, redis)
    relay(client, redis) { |bytes| admitted(bytes) }
    relay(redis, client) { |bytes| bytes }
  end

  def admitted(bytes)
    gate = @gate
    return bytes unless gate && @commands.any? { |name| bytes.include?(name) }

    @arrivals << true
    raise IOError, "cut on purpose" if gate.pop == :cut

    bytes
  end
end

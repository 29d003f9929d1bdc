# frozen_string_literal: true

require "socket"

module Bench
  # Publishes one event at a time to a consumer that waits for it. It measures how long it takes until the handler has
  # the event, and until Redis knows that it is done.
  #
  # The consumer writes down when each of its handlers began, on the clock that all processes of the machine share.
  class Latency
    GROUP = "bench"
    KEY = "k1"
    WARM_UP = 100
    # The pause before each event, in seconds, in which everyone falls asleep.
    PAUSE = 0.001
    # With an order, what is done is written down every 0.2 s, so that only every so many events are waited for.
    ORDERED = 25
    private_constant :GROUP, :KEY, :WARM_UP, :PAUSE, :ORDERED

    # @param latencies [Array<Integer>] ns
    # @param prefix [String] what the names begin with
    # @return [Hash{Symbol => Float}] percentiles in us
    def self.percentiles(latencies, prefix = "")
      sorted = latencies.sort
      %w[50 99].to_h { |rank| [:"#{prefix}p#{rank}_us", sorted[(sorted.size - 1) * rank.to_i / 100] / 1000.0] }
    end

    # @param peer [String]
    # @param settings [Hash] of the consumer
    # @param seconds [Numeric] for how long it is measured
    def initialize(peer, settings, seconds)
      @seconds = seconds
      @ordered = settings.fetch(:order) != "none"
      @server = RedisServer.new
      words = { port: @server.port, group: GROUP, warm_up: 0, seconds: 0, events: 0, **settings, handler: "stamp" }
      @consumer = IO.popen([*EventPlayer.command(peer), *Settings.format(words).split], "r+")
      @redis = TCPSocket.new("127.0.0.1", @server.port)
      @redis.setsockopt(Socket::IPPROTO_TCP, Socket::TCP_NODELAY, 1)
    end

    # @return [Hash] percentiles in us
    def measure
      raise "the consumer did not begin" unless @consumer.gets == "ready\n"

      WARM_UP.times { once(false) }
      until_time = now + (@seconds * 1e9)
      taken = []
      taken << once(!@ordered || (taken.size % ORDERED).zero?) while now < until_time
      Latency.percentiles(taken.map(&:first)).merge(Latency.percentiles(taken.filter_map(&:last), "ack_"))
    ensure
      @redis.close
      # A loop that waits for events does not notice that nobody listens.
      Process.kill(:KILL, @consumer.pid)
      @consumer.close
      @server.stop
    end

    private

    def now
      Process.clock_gettime(Process::CLOCK_MONOTONIC, :nanosecond)
    end

    # @return [Array(Integer, Integer)] ns until it was handled, and until that was acknowledged
    def once(acknowledged)
      sleep PAUSE
      command = pack("XADD", "events", "*", "key", KEY, "data", %({"number":1,"filler":"#{"x" * 170}"}))
      published = now
      @redis.write(command)
      handled = @consumer.gets.to_i - published
      @redis.gets
      id = @redis.gets.chomp
      return [handled, nil] unless acknowledged

      sleep(@ordered ? PAUSE : 0) until acknowledged?(id)
      [handled, now - published]
    end

    def acknowledged?(id)
      return run("HVALS", "events:events:#{GROUP}").any? { |value| value.start_with?("#{id} ") } if @ordered

      run("XPENDING", "events", GROUP).first.zero?
    end

    def pack(*words)
      "*#{words.size}\r\n#{words.map { |word| "$#{word.bytesize}\r\n#{word}\r\n" }.join}"
    end

    def run(*words)
      @redis.write(pack(*words))
      reply
    end

    def reply
      line = @redis.gets
      size = line[1..].to_i
      case line[0]
      when ":" then size
      when "$" then @redis.read(size + 2)&.chomp if size >= 0
      when "*" then Array.new([size, 0].max) { reply }
      else raise "Redis said #{line.inspect}"
      end
    end
  end
end

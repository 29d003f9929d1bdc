# frozen_string_literal: true

module Bench
  # Commits one row at a time to a consumer that waits for it, and measures how long it takes until the handler has it.
  #
  # The gem's consumer writes down when each of its handlers began, on the clock that all processes of the machine
  # share. What pg_recvlogical writes is read here: a row has arrived when the end of its transaction has.
  class WalLatency
    SLOT = "latency"
    WARM_UP = 100
    # The pause before each row, in seconds, in which everyone falls asleep.
    PAUSE = 0.001
    # The end of a transaction, as pg_recvlogical writes it: the message of a commit, and a line feed.
    COMMIT = 27
    private_constant :SLOT, :WARM_UP, :PAUSE, :COMMIT

    # @param peer [String]
    # @param seconds [Numeric] for how long it is measured
    def initialize(peer, seconds)
      @seconds = seconds
      @world = WalWorld.new(rows: 0)
      @world.create(SLOT)
      @is_tool = peer == WalPlayer::TOOL
      @consumer = IO.popen(@is_tool ? WalPlayer.tool(@world, SLOT, "-") : stamping(peer), "r+b")
      @count = 0
    end

    # @return [Hash] percentiles in us
    def measure
      await_reader
      WARM_UP.times { once }
      until_time = now + (@seconds * 1e9)
      taken = []
      taken << once while now < until_time
      Latency.percentiles(taken)
    ensure
      Process.kill(:KILL, @consumer.pid)
      @consumer.close
      @world.stop
    end

    private

    def stamping(peer)
      WalPlayer.command(peer, @world, SLOT, handler: "stamp")
    end

    def await_reader
      raise "the consumer did not begin" unless @is_tool || @consumer.gets == "ready\n"

      sleep 0.01 while @world.connection.exec("SELECT 1 FROM pg_replication_slots WHERE active").ntuples.zero?
    end

    def now
      Process.clock_gettime(Process::CLOCK_MONOTONIC, :nanosecond)
    end

    # @return [Integer] ns from the statement to the handler
    def once
      sleep PAUSE
      @count += 1
      began = now
      @world.connection.exec("INSERT INTO rows VALUES (#{@count}, 1, repeat('x', 170))")
      (@is_tool ? commit_read : @consumer.gets.to_i) - began
    end

    def commit_read
      text = +""
      text << @consumer.readpartial(65_536) until text.end_with?("\n") && text.byteslice(-COMMIT, 1) == "C"
      now
    end
  end
end

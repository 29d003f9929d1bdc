# frozen_string_literal: true

module Chaos
  module Live
    # The connection that subscribes breaks, or the server is away.
    module Table
      behind_proxy = Stage.new(place: -> { ProxiedPlace.new }, source: Channel)
      channel = { stage: behind_proxy }
      # It depends on how long it lasts.
      perhaps = { breaks: false }

      fault("CLIENT KILL of the subscription", **channel) { close_subscriptions }

      fault("the connection is reset", **channel, quick: true) { place.proxy.cut }

      fault("no byte passes for 0.05 to 0.8 s, then the connection is reset", **channel) do
        misbehave(some(0.05..0.8), :drop) { place.proxy.cut }
      end

      fault("half-open for 3.2 to 4 s", **channel) { misbehave(some(3.2..4.0), :drop) }

      # A PING is due within a second. Then it is waited for the counters, and for its answer.
      fault("half-open for good, new connections work", **channel, within: 4) { place.proxy.strand }

      fault("partition: no byte comes from Redis for 3.2 to 4 s", **channel) do
        misbehave(some(3.2..4.0), :drop, :server)
      end

      # Messages come all the while. If none is published, a PING is not answered.
      fault("partition: no byte gets to Redis for 3.2 to 4 s", **channel, **perhaps, lossless: true) do
        misbehave(some(3.2..4.0), :drop, :client)
      end

      fault("each byte 0.02 to 0.2 s late", **channel, **perhaps, lossless: true) do
        misbehave(0.5, :delay, some(0.02..0.2))
      end

      fault("server stopped (SIGSTOP) for 0.1 to 1.5 s", **channel, **perhaps, counted: false) do
        Process.kill(:STOP, server.pid)
        stand some(0.1..1.5)
        Process.kill(:CONT, server.pid)
      end

      fault("CLIENT PAUSE ALL for 0.1 to 2 s", **channel, **perhaps, counted: false) do
        seconds = some(0.1..2.0)
        redis "CLIENT", "PAUSE", (seconds * 1000).round, "ALL"
        stand seconds
      end

      fault("server killed, and started again", **channel, counted: false) { restart_server(away: some(0.0..0.5)) }

      fault("CONFIG RESETSTAT, then CLIENT KILL of the subscription", **channel, counted: false) do
        redis "CONFIG", "RESETSTAT"
        close_subscriptions
      end

      # So much is done since the second reset that only some of what is counted tells of it.
      fault("half-open, and CONFIG RESETSTAT takes as long as the one before", **channel, counted: false, calm: 0) do
        usual = usual_reset
        reset_counters_in(usual)
        await_beats([server])
        place.proxy.behave(:drop)
        reset_counters_in(usual)
        misbehave(some(4.5..5.0), :drop)
      end
    end
  end
end

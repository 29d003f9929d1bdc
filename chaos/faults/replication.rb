# frozen_string_literal: true

module Chaos
  # Another server becomes the master.
  module Table
    replicated = { place: -> { ReplicatedPlace.new }, alone: "needs a replica" }
    watched = { place: -> { WatchedPlace.new }, alone: "needs a sentinel" }

    fault "a replica for 1.5 s (READONLY)", quick: true do
      redis "REPLICAOF", "127.0.0.1", RedisServer.free_port
      stand 1.5
      redis "REPLICAOF", "NO", "ONE"
    end

    fault "failover to a replica, nothing lost", **replicated do
      redis "CLIENT", "PAUSE", 5000, "WRITE"
      Chaos.eventually do
        offsets = [server, place.replica].map { |one| one.client.info("replication") }
        offsets.first["master_repl_offset"] == offsets.last["slave_repl_offset"]
      end
      place.promote
      back!
      server.kill
    end

    fault "failover to a replica, 0.5 s of writes lost", **replicated, work: 0.015, outage: false do
      place.link.behave(:drop)
      stand 0.5
      server.kill
      place.promote
    end

    fault "failover by Sentinel, on demand", **watched, outage: false do
      old = place.master_port
      place.sentinel.call("SENTINEL", "FAILOVER", "chaos")
      Chaos.eventually(timeout: 30) { ![nil, old].include?(place.master_port) }
      back!
      # Until the sentinel demotes the old master, it would take writes and lose them.
      Chaos.eventually(timeout: 60) { server.client.info("replication")["role"] == "slave" }
    end

    fault "failover by Sentinel, the master killed", **watched do
      old = place.master_port
      server.kill
      Chaos.eventually(timeout: 30) { ![nil, old].include?(place.master_port) }
    end

    # The old master is demoted and runs on, so only its role shows that the first sentinel is wrong.
    fault "failover by Sentinel, which the first sentinel does not hear of",
          **watched, place: -> { WatchedPlace.new(stale: true) }, outage: false do
      old = place.master_port
      place.sentinel.call("SENTINEL", "FAILOVER", "chaos")
      Chaos.eventually(timeout: 60) { server.client.info("replication")["role"] == "slave" }
      raise "there was no failover" if [nil, old].include?(place.master_port)

      # All have to connect again, and ask who the master is.
      again_and_again(3, every: 0.3) do
        [server, place.replica].each { |one| one.client.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes") }
      end
      raise "the first sentinel was not asked" unless place.stale_answers.positive?
    end

    three = { **watched, place: -> { WatchedPlace.new(sentinels: 3) } }
    fault "failover by Sentinel, the master killed while the first of three sentinels hangs", **three do
      old = place.master_port
      place.signal_first_sentinel(:STOP)
      server.kill
      Chaos.eventually(timeout: 30) { ![nil, old].include?(place.master_port) }
    end
  end
end

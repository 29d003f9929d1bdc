# frozen_string_literal: true

module Chaos
  module Events
    # The server dies, fails over, or is not willing.
    module Table
      # Where the server was away, leases have run out.
      away = { outage: true, pause: 2 }

      fault "server killed, its data kept", loads: Loads::EVERY, **away, place: -> { Place.durable } do
        restart_server
      end

      fault "server killed for longer than a lease, its data kept", **away, place: -> { Place.durable } do
        restart_server(away: 2.5)
      end

      fault "server killed, its data lost", **away, losses: %i[flushed], certain: true do
        restart_server
      end

      fault "server killed, and back with its state of a second before",
            **away, losses: %i[rolled_back flushed], certain: true do
        redis "SAVE"
        stand 1
        restart_server
      end

      # When they look again, the stream has new entries after what was lost.
      fault "server killed, and back with an older state, while the consumers are stopped (SIGSTOP)",
            **away, losses: %i[rolled_back flushed], certain: true do
        redis "SAVE"
        stand 1
        while_stopped(consumers) do
          restart_server
          stand 0.5
        end
      end

      fault "CLIENT KILL of everything, 15 times" do
        again_and_again(15, every: 0.1) { redis "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes" }
      end

      fault "no memory (OOM at maxmemory) for 1.5 s", **away do
        redis "CONFIG", "SET", "maxmemory", 1
        stand 1.5
        redis "CONFIG", "SET", "maxmemory", 0
      end

      # A replica may lack what its master had confirmed.
      failover = { losses: %i[rolled_back flushed], pause: 2 }
      fault "failover, the master killed", **away, **failover, place: -> { ReplicatedPlace.new } do
        server.kill
        place.promote
      end

      fault "failover to a replica without the last 0.5 s",
            **away, **failover, certain: true, place: -> { ReplicatedPlace.new } do
        place.link.behave(:drop)
        stand 0.5
        server.kill
        place.promote
      end

      fault "failover by Sentinel, on demand", **failover, place: -> { WatchedPlace.new } do
        old = place.master_port
        place.sentinel.call("SENTINEL", "FAILOVER", "chaos")
        Chaos.eventually(timeout: 30) { ![nil, old].include?(place.master_port) }
        # Until the sentinel demotes the old master, it would take events and lose them.
        Chaos.eventually(timeout: 60) { server.client.info("replication")["role"] == "slave" }
      end

      fault "cluster: the slots of the stream and of the lanes move, 3 times each",
            place: -> { ClusteredPlace.new } do
        again_and_again(3, every: 0.3) { [Scene::STREAM, Scene::HASH].each { |key| move(key) } }
      end

      fault "cluster: the stream's master killed", **away, **failover, place: -> { ClusteredPlace.new } do
        lose_master_of(Scene::STREAM)
      end

      fault "cluster: the lanes' master killed", loads: Loads::ORDERED, **away, **failover,
                                                 place: -> { ClusteredPlace.new } do
        lose_master_of(Scene::HASH)
      end
    end
  end
end

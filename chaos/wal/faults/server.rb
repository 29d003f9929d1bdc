# frozen_string_literal: true

module Chaos
  module Wal
    # The server dies, or is not willing.
    module Table
      away = { outage: true, pause: 1 }

      fault "server killed (-9), and back", loads: LOADS.keys, **away, quick: true do
        restart_server
      end

      fault "server killed (-9) 3 times", **away do
        restart_server(times: 3)
      end

      fault "server restarted in order", **away do
        server.stop_serving
        stand 0.5
        server.start
      end

      fault "the connection ended by the server (pg_terminate_backend), 15 times", loads: LOADS.keys do
        again_and_again(15, every: 0.1) { cut_wal }
      end

      lost = { losses: %i[slot_lost], certain: true, pause: 2, repeats: true }
      fault "the slot dropped", **lost do
        drop_slot
        await_slot
      end

      fault "the slot dropped 3 times", **lost do
        again_and_again(3, every: 1) do
          drop_slot
          await_slot
        end
      end

      # What is kept for the slot is less than what is written while the consumer is stopped.
      fault "the slot invalidated (max_slot_wal_keep_size) while the consumer is stopped (SIGSTOP)", **lost do
        server.query("ALTER SYSTEM SET max_slot_wal_keep_size = '32MB'")
        server.query("SELECT pg_reload_conf()")
        while_stopped(consumers) { Chaos.eventually(timeout: 60) { invalidate } }
        await_slot
      end

      # The standby gets every commit, and not the slot.
      fault "failover to a standby without the slot", **lost, outage: true, place: -> { ReplicatedPlace.new } do
        place.fail_over
        await_slot
      end

      copying = { place: -> { ReplicatedPlace.new(copies: true) }, repeats: true }
      fault "failover to a standby that has the slot", **away, **copying do
        place.fail_over
      end

      full = { place: -> { SmallPlace.new }, outage: false, pause: 3 }
      fault "the disk full, until the server has ended of itself", **full do
        place.fill { Chaos.eventually(timeout: 60) { write_much && server.gone? } }
        server.start
      end
    end
  end
end

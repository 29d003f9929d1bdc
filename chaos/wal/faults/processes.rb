# frozen_string_literal: true

module Chaos
  module Wal
    # Consumers die, stop and leave; handlers are stuck.
    module Table
      # A standby takes over within 5 s.
      standby = { consumers: 2, pause: 4, repeats: true }

      fault "the consumer killed, and a standby there", loads: LOADS.keys, **standby, quick: true do
        kill_active
      end

      fault "the consumer killed 5 times", loads: LOADS.keys, **standby, settle: 4 do
        again_and_again(5, every: 0.5) { kill_active }
      end

      %w[first middle last].product(%w[before after]).each do |place, moment|
        dies = { dies: { place: place, moment: moment } }
        fault "the consumer killed #{moment} its handler of the #{place} change of a transaction", **standby,
              settings: dies do
          die
        end
      end

      fault "the consumer stopped (SIGSTOP) for 4 s, and a standby there", **standby do
        while_stopped([active]) { stand 4 }
      end

      fault "rolling deploy: the consumer leaves and another one joins, 6 times", **standby, settle: 3 do
        again_and_again(6, every: 0.3) do
          leave([active])
          add(:consumer).wait_until_ready
        end
      end

      # The server would end a connection that is silent for 1.5 s.
      stuck = { slow: ["-3/12"], slow_work: 6, options: { concurrency: { threads: 3 }, prefetch: 50 } }
      fault "handlers that are stuck for 4 times wal_sender_timeout",
            settings: { consumer: stuck }, pause: 10 do
        before = Chaos.eventually { slot["active_pid"] }
        stand 14
        raise "the connection was ended" unless slot["active_pid"] == before
      end

      rows = 1_000_000
      fault "a transaction of #{rows} rows", settings: { large: rows }, pause: 10 do
        write_large(rows)
      end
    end
  end
end

# frozen_string_literal: true

module Chaos
  module Events
    # Consumers die, stop, leave and join.
    module Table
      # What a dead process had stands still for a lease, and until the next one looks after it.
      crash = { pause: 2.5, one_owner: true }

      fault "a consumer killed", **crash, quick: true do
        kill(consumers.first)
        add(:consumer).wait_until_ready
      end

      fault "consumers killed at random, 5 times", loads: Loads::EVERY, **crash, consumers: 3, settle: 4 do
        again_and_again(5, every: 0.7) do
          kill(any(consumers))
          add(:consumer).wait_until_ready
        end
      end

      fault "a consumer killed, and the others paused again and again while they take over",
            loads: Loads::EVERY, **crash, consumers: 3, settle: 3 do
        kill(consumers.first)
        again_and_again(4, every: 0.2) { while_paused { stand 0.4 } }
        add(:consumer).wait_until_ready
      end

      # It goes on with what it held when it wakes.
      fault "a consumer stopped (SIGSTOP) for 2.5 leases", loads: Loads::EVERY, **crash do
        while_stopped([consumers.first]) { stand 2.5 }
      end

      fault "all consumers stopped (SIGSTOP) for 2.5 leases", **crash do
        while_stopped(consumers) { stand 2.5 }
      end

      # Leaving hands over at once.
      deploy = { consumers: 3, pause: 0.5, once: true, one_owner: true,
                 loads: [*Loads::USUAL, *Loads::PARTITIONED, "order source"] }
      fault "rolling deploy: consumers leave and others join, 6 times", **deploy do
        again_and_again(6, every: 0.3) { replace_oldest }
      end

      fault "worker processes killed at random, 5 times", loads: Loads::PROCESSES.map(&:name), pause: 1.5 do
        again_and_again(5, every: 0.3) do
          fork = any(consumers.flat_map { |worker| forks_of(worker) })
          Process.kill(:KILL, fork) if fork
        end
      end
    end
  end
end

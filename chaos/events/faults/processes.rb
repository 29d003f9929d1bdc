# frozen_string_literal: true

module Chaos
  module Events
    # Consumers die, stop, leave and join.
    module Table
      # What a dead process had stands still for a lease, and until the next one looks after it.
      crash = { pause: 2.5 }

      fault "a consumer killed", **crash, quick: true do
        kill(consumers.first)
        add(:consumer).wait_until_ready
      end

      fault "consumers killed at random, 5 times", **crash, consumers: 3, settle: 4 do
        again_and_again(5, every: 0.7) do
          kill(any(consumers))
          add(:consumer).wait_until_ready
        end
      end

      # It goes on with what it held when it wakes.
      fault "a consumer stopped (SIGSTOP) for 2.5 leases", **crash do
        stopped = consumers.first
        stopped.kill(:STOP)
        stand 2.5
        stopped.kill(:CONT)
      end

      fault "all consumers stopped (SIGSTOP) for 2.5 leases", **crash do
        stopped = consumers
        stopped.each { |worker| worker.kill(:STOP) }
        stand 2.5
        stopped.each { |worker| worker.kill(:CONT) }
      end

      # Leaving hands over at once.
      fault "rolling deploy: consumers leave and others join, 6 times", consumers: 3, pause: 0.5, once: true do
        again_and_again(6, every: 0.3) { replace_oldest }
      end

      forked = { settings: { consumer: { options: { lease: 1, concurrency: { processes: 2, threads: 2 } } } } }
      fault "worker processes killed at random, 5 times", **forked, pause: 1.5 do
        again_and_again(5, every: 0.3) do
          fork = any(consumers.flat_map { |worker| forks_of(worker) })
          Process.kill(:KILL, fork) if fork
        end
      end
    end
  end
end

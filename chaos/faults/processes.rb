# frozen_string_literal: true

module Chaos
  # Processes on both sides die, stop, leave and join.
  module Table
    processes = { lane: :processes, outage: false }
    crash = "what ran in the killed process is answered by another one after a lease, or times out"

    fault "answering processes killed at random, 6 times", **processes, timeout: 5, work: 0.005, settle: 6 do
      again_and_again(6, every: 0.7) do
        kill(any(answerers))
        add(:answerer).wait_until_ready
      end
    end

    # The calls' timeout is shorter than the pause until others look for what was left (9/10 of a lease of 2 s).
    fault "rolling deploy: answering processes leave and others join, 6 times",
          **processes, quick: true, timeout: 1.5, work: 0.002, promise: Promises::EveryCallIsAnswered.new do
      again_and_again(6, every: 0.3) { replace_oldest_answerer }
    end

    # An instance with a shorter lease must not take over what one with a longer lease renews less often.
    fault "rolling deploy that changes the lease, 3 s and 0.3 s",
          outage: false, timeout: 5, work: 0.4, calm: true,
          settings: { asker: { threads: 3, interval: nil }, answerer: { options: { consumer: { lease: 3 } } } },
          promise: Promises::EveryCallIsAnsweredOnce.new do
      [0.3, 3, 0.3].each do |lease|
        add(:answerer, options: { consumer: { lease: lease } }).wait_until_ready
        stand 1
        leave([(answerers - left).first])
      end
    end

    fault "an asking process killed", **processes, quick: true do
      kill(askers.first)
      add(:asker).wait_until_ready
    end

    fault "an answering process stopped (SIGSTOP) for 5 s", **processes, timeout: 5, tolerated: crash do
      stopped = answerers.first
      stopped.kill(:STOP)
      stand 5
      stopped.kill(:CONT)
    end

    # It is stopped for longer than its lease, and its calls are over.
    fault "an asking process stopped (SIGSTOP) for 4 s", **processes do
      stopped = askers.first
      stopped.kill(:STOP)
      stand 4
      stopped.kill(:CONT)
    end
  end
end

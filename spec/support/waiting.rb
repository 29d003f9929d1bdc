# frozen_string_literal: true

# Waiting for what is seen from outside only (the state of Redis, of another process).
module Waiting
  def eventually(timeout: 10, every: 0.005, &block)
    happens?(within: timeout, every: every, &block) || raise("it did not happen within #{timeout} s")
  end

  # For what may rightly not happen: what the block returned at last.
  def happens?(within:, every: 0.005)
    deadline = now + within
    until (result = yield)
      return false if now > deadline

      sleep every
    end
    result
  end

  # The next element of a Queue.
  def next_of(queue, timeout: 10)
    Timeout.timeout(timeout) { queue.pop }
  end

  # The TimeoutError of a call that nobody takes. Redis has 250 ms to confirm that it was taken back; a machine that
  # stalls just then makes it an outcome less sure, so that it is tried again.
  def unclaimed(tries: 5)
    error = nil
    tries.times do
      yield
      raise "the call was answered"
    rescue RedisIPC::TimeoutError => e
      error = e
      break if e.outcome == :unclaimed
    end
    error
  end

  def now
    Process.clock_gettime(Process::CLOCK_MONOTONIC)
  end

  def seconds
    started = now
    yield
    now - started
  end

  # For what is claimed to be prompt: the block's result (seconds) at best of some tries. A machine that stalls makes
  # one of them slow, not all.
  def best_of(tries = 5, within:)
    times = []
    tries.times do
      times << yield
      break if times.last < within
    end
    times.min
  end
end

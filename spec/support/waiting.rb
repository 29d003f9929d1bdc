# frozen_string_literal: true

# Waits for what is only visible from outside (the state of Redis, of another process).
module Waiting
  def eventually(timeout: 10, every: 0.005, &block)
    happens?(within: timeout, every: every, &block) || raise("it did not happen within #{timeout} s")
  end

  # Waits for something that may rightly not happen. Returns the last result of the block.
  def happens?(within:, every: 0.005)
    deadline = now + within
    until (result = yield)
      return false if now > deadline

      sleep every
    end
    result
  end

  # Returns the next element of a Queue.
  def next_of(queue, timeout: 10)
    Timeout.timeout(timeout) { queue.pop }
  end

  # Returns the TimeoutError of a call that nobody takes. Redis has 250 ms to confirm the withdrawal. If the machine
  # stalls in that time, the outcome is less certain, so the call is tried again.
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

  # Measures the block several times, and returns its best result in seconds. A stall of the machine makes one run slow,
  # not all.
  def best_of(tries = 5, within:)
    times = []
    tries.times do
      times << yield
      break if times.last < within
    end
    times.min
  end
end

# frozen_string_literal: true

# Waiting for what is seen from outside only (the state of Redis, of another process).
module Waiting
  def eventually(timeout: 10, every: 0.005)
    deadline = now + timeout
    until (result = yield)
      raise "it did not happen within #{timeout} s" if now > deadline

      sleep every
    end
    result
  end

  # The next element of a Queue.
  def next_of(queue, timeout: 10)
    Timeout.timeout(timeout) { queue.pop }
  end

  def now
    Process.clock_gettime(Process::CLOCK_MONOTONIC)
  end

  def seconds
    started = now
    yield
    now - started
  end
end

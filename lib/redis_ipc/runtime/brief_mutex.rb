# frozen_string_literal: true

module RedisIPC
  # A Mutex around a few lines that wait for nothing.
  #
  # Ruby 3.1 crashes ("invalid keeping_mutexes", seen) if a fiber under a scheduler queues for a Mutex that another
  # thread unlocks: the woken fiber may take it before the other thread has released it. So such a fiber does not queue.
  # @api private
  class BriefMutex < Mutex
    # @return [Object] what the block returns
    def synchronize
      return super unless FiberWaker.needed?

      begin
        Thread.pass until try_lock
        yield
      ensure
        unlock if owned?
      end
    end
  end
  private_constant :BriefMutex
end

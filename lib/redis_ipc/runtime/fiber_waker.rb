# frozen_string_literal: true

module RedisIPC
  # Under a Fiber scheduler: what the current fiber waits for, while its thread goes on with other fibers. Woken once,
  # from any thread.
  #
  # It speaks to the scheduler itself: a ConditionVariable of Ruby 3.1 loses its Mutex when a waiting fiber is stopped
  # (seen), and BriefMutex tells what a Mutex does.
  # @api private
  class FiberWaker
    # Returns whether the current fiber is to wait in the way of its scheduler.
    def self.needed?
      !Fiber.current_scheduler.nil?
    end

    # Runs a block that waits without the GVL and knows nothing of fibers.
    # @return [Object] what the block returns
    def self.outside(&block)
      return yield unless needed?

      thread = Thread.new(&block)
      thread.report_on_exception = false
      begin
        thread.value
      ensure
        thread.kill
      end
    end

    def initialize
      @scheduler = Fiber.current_scheduler
      @waiting = []
    end

    # Wakes the fiber; it may have stopped waiting.
    def wake
      @woken = true
      fiber = @waiting.pop
      @scheduler.unblock(self, fiber) if fiber
    end

    # Waits until it was woken; may return early.
    # @param seconds [Numeric, nil] at most so long
    def await(seconds)
      @waiting.push(Fiber.current)
      # Woken just now: unless the fiber can be taken back, it is being woken.
      return if @woken && @waiting.pop

      @scheduler.block(self, seconds)
    ensure
      @waiting.clear
    end
  end
  private_constant :FiberWaker
end

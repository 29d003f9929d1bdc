# frozen_string_literal: true

module RedisIPC
  # Suspends the current fiber under a Fiber scheduler, while its thread runs other fibers, until any thread wakes it.
  # It is used once.
  #
  # It calls the scheduler itself, because a ConditionVariable of Ruby 3.1 loses its Mutex when a waiting fiber is
  # stopped (seen); BriefMutex says why no Mutex is used.
  # @api private
  class FiberWaker
    # Returns whether the current fiber must wait by its scheduler.
    def self.needed?
      !Fiber.current_scheduler.nil?
    end

    # Runs a block in another thread if the current fiber has a scheduler: it waits without the GVL and knows no fibers.
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

    # Wakes the fiber, which may have stopped waiting.
    def wake
      @woken = true
      fiber = @waiting.pop
      @scheduler.unblock(self, fiber) if fiber
    end

    # Waits until the fiber is woken; it may return early.
    # @param seconds [Numeric, nil] the longest wait
    def await(seconds)
      @waiting.push(Fiber.current)
      # It was woken just now. If the fiber cannot be taken back, another thread is waking it.
      return if @woken && @waiting.pop

      @scheduler.block(self, seconds)
    ensure
      @waiting.clear
    end
  end
  private_constant :FiberWaker
end

# frozen_string_literal: true

module RedisIPC
  # Lets a fiber under a Fiber scheduler wait for a call while its thread runs other fibers.
  #
  # A fiber that waits registers a waker. One thread fetches from the core which calls have ended, and wakes their
  # fibers.
  # @api private
  class FiberWaits
    # @return [ThreadPool] the thread that wakes the fibers; it ends with the engine
    attr_reader :pool

    # @param engine [Native::Engine, Native::ListClient]
    # @param place [String] for the name of the thread
    def initialize(engine, place)
      @wakers = {}
      @mutex = BriefMutex.new
      @pool = ThreadPool.new("waker", place) do
        id = engine.next_wake
        !id.nil?
      ensure
        # Also if the thread is killed in between: nobody else will get this id.
        wake(id) if id
      end
      @pool.start(1)
    end

    # @param call [Native::Call, Native::ListCall]
    # @param timeout [Numeric, nil] seconds; nil waits until the call's own deadline
    # @return [Boolean] whether the call has ended
    def wait(call, timeout)
      id = call.id
      waker = FiberWaker.new
      @mutex.synchronize { (@wakers[id] ||= []) << waker }
      call.wake
      await(waker, call, timeout)
    ensure
      @mutex.synchronize { take_down(id, waker) }
    end

    # Waits for the end of a call that nobody else waits for.
    # @return [Object] its answer
    def answer(call)
      wait(call, nil)
      call.answer
    ensure
      # If the fiber was stopped, the call is still open; otherwise this does nothing.
      call.cancel
    end

    private

    def await(waker, call, timeout)
      deadline = timeout && (Monotonic.now + timeout)
      while (pause = call.check_deadline)
        left = deadline && (deadline - Monotonic.now)
        return false if left && left <= 0

        waker.await([pause, left].compact.min)
      end
      true
    end

    def take_down(id, waker)
      wakers = @wakers.fetch(id, [])
      wakers.delete(waker)
      @wakers.delete(id) if wakers.empty?
    end

    def wake(id)
      @mutex.synchronize { @wakers[id].dup }&.each(&:wake)
    rescue StandardError
      # The scheduler and its fibers are gone.
    end
  end
  private_constant :FiberWaits
end

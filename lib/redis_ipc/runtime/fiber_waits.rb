# frozen_string_literal: true

module RedisIPC
  # Waiting for calls under a Fiber scheduler: the fiber waits, its thread goes on with other fibers.
  #
  # A fiber that waits hangs up a bell; one thread fetches from the core which calls have ended, and rings.
  # @api private
  class FiberWaits
    # @return [ThreadPool] the thread that rings; it ends with the engine
    attr_reader :pool

    # @param engine [Native::Engine, Native::ListClient]
    # @param place [String] for the name of the thread
    def initialize(engine, place)
      @bells = {}
      @mutex = BriefMutex.new
      @pool = ThreadPool.new("waker", place) do
        id = engine.next_wake
        ring(id) if id
        !id.nil?
      end
      @pool.start(1)
    end

    # @param call [Native::Call, Native::ListCall]
    # @param timeout [Numeric, nil] seconds; nil waits until the call's own deadline
    # @return [Boolean] whether the call has ended
    def wait(call, timeout)
      id = call.id
      bell = FiberWaker.new
      @mutex.synchronize { (@bells[id] ||= []) << bell }
      call.wake
      await(bell, call, timeout)
    ensure
      @mutex.synchronize { take_down(id, bell) }
    end

    # Waits for the end of a call that nobody else waits for.
    # @return [Object] its answer
    def answer(call)
      wait(call, nil)
      call.answer
    ensure
      # Where the fiber was stopped; else the call has ended.
      call.cancel
    end

    private

    def await(bell, call, timeout)
      deadline = timeout && (Monotonic.now + timeout)
      while (pause = call.tend)
        left = deadline && (deadline - Monotonic.now)
        return false if left && left <= 0

        bell.await([pause, left].compact.min)
      end
      true
    end

    def take_down(id, bell)
      bells = @bells.fetch(id, [])
      bells.delete(bell)
      @bells.delete(id) if bells.empty?
    end

    def ring(id)
      @mutex.synchronize { @bells[id].dup }&.each(&:ring)
    rescue StandardError
      # The scheduler is gone, and its fibers with it.
    end
  end
  private_constant :FiberWaits
end

# frozen_string_literal: true

# The smallest Fiber scheduler that Ruby accepts: fibers block, sleep and are woken from other threads.
class FiberScheduler
  # Runs the block as a fiber under a scheduler, in a new thread, until every fiber has ended. Returns what the block
  # returned.
  def self.run(&block)
    result = nil
    Thread.new do
      Fiber.set_scheduler(new)
      Fiber.schedule { result = block.call }
    end.join
    result
  end

  def initialize
    # The fibers that wait, and their deadlines.
    @waiting = {}
    @woken = Thread::Queue.new
    @reader, @writer = IO.pipe
  end

  def block(_blocker, timeout = nil)
    @waiting[Fiber.current] = timeout && (now + timeout)
    Fiber.yield
  ensure
    @waiting.delete(Fiber.current)
  end

  def unblock(_blocker, fiber)
    @woken << fiber
    @writer.write_nonblock(".", exception: false)
  end

  def kernel_sleep(duration = nil)
    block(:sleep, duration)
  end

  def io_wait(io, events, timeout)
    Thread.new { io.wait(events, timeout) }.value
  end

  def fiber(&block)
    Fiber.new(blocking: false, &block).tap(&:resume)
  end

  def close
    until @waiting.empty? && @woken.empty?
      @reader.read_nonblock(1000, exception: false) if @reader.wait_readable(pause)
      ready.each { |fiber| fiber.resume if fiber.alive? }
    end
    [@reader, @writer].each(&:close)
  end

  private

  def ready
    woken = Array.new(@woken.size) { @woken.pop }
    woken.select { |fiber| @waiting.key?(fiber) } | @waiting.select { |_, due| due && due <= now }.keys
  end

  def pause
    return 0 unless @woken.empty?

    due = @waiting.values.compact.min
    due && [due - now, 0].max
  end

  def now
    Process.clock_gettime(Process::CLOCK_MONOTONIC)
  end
end

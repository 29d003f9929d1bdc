# frozen_string_literal: true

module RedisIPC
  # One connected period in one process: an engine of the core, the Ruby threads that serve it, and how both end.
  # @api private
  class EngineSession
    attr_reader :engine, :pid

    # @param label [String] for the names of threads
    # @param callables [Hash{Symbol => #call}] what is called at each login
    # @param workers [ThreadPool, nil] they end when the engine takes nothing more
    # @param others [Array<ThreadPool>] they end when it is closed
    # @yieldparam logins [Native::Logins, nil] what the engine asks at each login
    # @yieldreturn [Native::Engine, Native::ListServer, Native::ListClient] the engine, started
    def initialize(label, callables, workers:, others:, &start)
      @label = label
      @workers = workers
      @others = others
      @pid = Process.pid
      @closing = Mutex.new
      @starting = BriefMutex.new
      @logins = Logins.open(callables, label)
      @engine = started(&start)
    end

    def connected?
      !@quiet && @engine.connected?
    end

    # Neither closed nor being closed, and of this process.
    def open?
      !@quiet && @pid == Process.pid
    end

    def closed?
      @closed
    end

    # In a forked child: closes its copies of the parent's sockets, which would keep the parent's connections open after
    # its death. Nothing else of the parent's engine is touched: its locks may be held for ever.
    def abandon
      # Once: for a grandchild the numbers may be those of other files by now.
      return if @abandoned

      @abandoned = true
      @engine.inherited_sockets.each { |descriptor| IO.for_fd(descriptor).close }
    rescue SystemCallError
      # Somebody closed descriptors wholesale: nothing is left to close.
    end

    # In a forked child that disconnects: what it inherited does not connect again.
    def renounce
      @closed = true
    end

    # Stops intake. What is running goes on, and calls may still be made.
    def quiet
      return if @workers.nil? || @pid != Process.pid

      @closing.synchronize do
        @workers.retire
        @engine.quiet
      end
    end

    # Stops intake, waits for what is running, closes. From inside a handler, a callback or a trap block, it leaves the
    # waiting to a thread of its own.
    def close(timeout)
      @quiet = true
      if pools.any?(&:current?) || in_trap?
        ThreadPool.name_thread(Thread.new { finish(timeout) }, "close #{@label}")
      else
        FiberWaker.outside { finish(timeout) }
      end
    end

    private

    def started
      engine = yield @logins&.native
    ensure
      @logins&.close unless engine
    end

    def pools
      [@workers, *@others, @fiber_waits&.pool, @logins&.pool].compact
    end

    # How fibers wait for calls, once one has.
    def fiber_waits
      @fiber_waits || @starting.synchronize { @fiber_waits ||= FiberWaits.new(@engine, @label) }
    end

    # Returns whether the process is a fork that the engine is not of; a handler may have forked, and this be the child.
    def abandoned?
      @abandoned
    end

    def finish(timeout)
      @closing.synchronize do
        deadline = Monotonic.now + timeout
        pools.each(&:retire)
        @engine.quiet if @workers
        join(@workers, deadline)
        wait_for_answers(deadline)
        @engine.close
        @logins&.close
        @others.each { |pool| join(pool, deadline) }
        @closed = true
        ProcessHooks.forget(self)
      end
    end

    # For subclasses whose handlers may answer after they have returned.
    def wait_for_answers(deadline); end

    def join(pool, deadline)
      pool&.each { |thread| thread.join([deadline - Monotonic.now, 0].max) }
    end

    # A trap block may not wait for a lock: what it interrupted may hold it.
    def in_trap?
      Mutex.new.synchronize { false }
    rescue ThreadError
      true
    end
  end
  private_constant :EngineSession
end

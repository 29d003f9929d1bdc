# frozen_string_literal: true

module RedisIPC
  # One connected period of a stream in one process: the engine, and the Ruby threads that serve it.
  # @api private
  class Session
    attr_reader :engine, :settings, :pid

    # Connects; {#run} starts the threads.
    # @param stream [Stream]
    # @param settings [Settings]
    # @param serves [Boolean] whether there is a handler
    def initialize(stream, settings, serves:)
      @stream = stream
      @label = "#{stream.name}/#{stream.group}"
      @settings = settings
      @serves = serves
      @pid = Process.pid
      @closing = Mutex.new
      @watching = BriefMutex.new
      @callbacks = {}
      @engine = Native::Engine.start(stream.name, stream.group, settings.core, serves)
      @consumers = ThreadPool.new("consumer", @label) { serve_one }
      @dispatchers = ThreadPool.new("dispatcher", @label) { dispatch_one }
    end

    # @param serve [#call] runs the handler for an entry
    # @param report [#call] tells the user of an error
    # @return [self]
    def run(serve:, report:)
      @serve = serve
      @report = report
      consumers, dispatchers = @engine.pool_sizes
      @consumers.start(consumers) if @serves
      @dispatchers.start(dispatchers)
      self
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

    # Asks and waits for the answer.
    # @return [Native::Answer]
    def ask(group, content, timeout, traceparent = nil)
      return @engine.ask(group, content, timeout, traceparent) unless FiberBell.needed?

      begin
        call = @engine.ask_async(group, content, timeout, traceparent)
        fiber_waits.wait(call, nil)
        call.answer
      ensure
        # Where the fiber was stopped; else the call has ended.
        call&.cancel
      end
    end

    # Waits for the end of a call.
    # @return [Boolean] whether it has ended
    def wait(call, timeout)
      return call.wait(timeout) if timeout&.zero? || !FiberBell.needed?

      fiber_waits.wait(call, timeout)
    end

    # Runs the block in a dispatcher thread when the call ends; here and now if it has ended.
    def when_settled(call, &callback)
      id = call.id
      @watching.synchronize { (@callbacks[id] ||= []) << callback }
      return if call.watch

      run_callbacks(id)
    end

    # Stops intake, waits for running handlers, closes. From inside a handler, a callback or a trap block, it leaves the
    # waiting to a thread of its own.
    def close(timeout)
      @quiet = true
      if @consumers.current? || @dispatchers.current? || in_trap?
        Thread.new { finish(timeout) }.name = "redis_ipc close #{@label}"
      else
        FiberBell.outside { finish(timeout) }
      end
    end

    private

    def serve_one
      request = @engine.take
      return false unless request

      @serve.call(Entry.new(request, @engine))
      # A handler may have forked, and this be the child.
      !@abandoned
    end

    def dispatch_one
      report = @engine.next_report
      Execution.callback { pass_on(report) } if report
      !report.nil?
    end

    # The id of a watched call, the seconds of an outage that is over, or an error.
    def pass_on(report)
      case report
      when String then run_callbacks(report)
      when Float then Instrumentation.publish(:reconnect, reconnection(report))
      else @report.call(report)
      end
    end

    def reconnection(outage)
      { stream: @stream.name, group: @stream.group, id: @engine.instance_id, duration: outage }
    end

    def run_callbacks(id)
      callbacks = @watching.synchronize { @callbacks.delete(id) }
      callbacks&.each(&:call)
    end

    def fiber_waits
      @fiber_waits || @watching.synchronize { @fiber_waits ||= FiberWaits.new(@engine, @label) }
    end

    def finish(timeout)
      @closing.synchronize do
        deadline = now + timeout
        [@consumers, @dispatchers, @fiber_waits&.pool].each { |pool| pool&.retire }
        @engine.quiet
        join(@consumers, deadline)
        @engine.close
        join(@dispatchers, deadline)
        @closed = true
        ProcessHooks.forget(self)
      end
    end

    def join(pool, deadline)
      pool.each { |thread| thread.join([deadline - now, 0].max) }
    end

    # A trap block may not wait for a lock: what it interrupted may hold it.
    def in_trap?
      Mutex.new.synchronize { false }
    rescue ThreadError
      true
    end

    def now
      Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end
  end
end

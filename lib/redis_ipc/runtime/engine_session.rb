# frozen_string_literal: true

module RedisIPC
  # A session is one connected period in one process: an engine of the core, and the Ruby threads that serve it.
  # @api private
  class EngineSession
    attr_reader :engine, :pid

    # @param label [String] for the names of threads
    # @param callables [Hash{Symbol => #call}] the callables that give a user name or a password at each login
    # @param workers [ThreadPool, nil] they end when the engine takes nothing more
    # @param others [Array<ThreadPool>] they end when it is closed
    # @param labels [Hash{Symbol => String}] where it belongs
    # @yieldparam logins [Native::Logins, nil] the queue by which the engine asks for them
    # @yieldreturn [Native::Engine, Native::ListServer, Native::ListClient] the engine, started
    def initialize(label, callables, workers:, others:, labels: {}, &start)
      @label = label
      @labels = labels.freeze
      @workers = workers
      @others = others
      @pid = Process.pid
      @closing = Mutex.new
      @starting = BriefMutex.new
      @not_begun = []
      @busy = RunningHandlers.new
      @logins = Logins.open(callables, label)
      @engine = started(&start)
    end

    def connected?
      !@quiet && @engine.connected?
    end

    # @return [Hash{Symbol => Integer}] the counters
    def stats
      @engine.stats
    end

    # @return [Hash{Symbol => String}] where it belongs: its kind (`"request_reply"`, `"json_rpc"` or `"events"`), the
    #   stream and the group. It is frozen, and empty for what only publishes
    attr_reader :labels

    # @return [RunningHandlers] the handlers that run now
    def running
      @busy
    end

    # @return [Hash{Symbol => Integer}] how many losses of events were told, by cause
    def losses
      {}
    end

    # @return [Hash{String => Hash}] how long calls, waiting and handlers took (`"histograms"`), and how calls ended by
    #   their destination (`"outcomes"`)
    def details
      JSON.parse(@engine.details)
    end

    # Returns whether a handler has run for longer than anybody waits for it.
    # @param _running [RunningHandlers::Running]
    def overdue?(_running)
      true
    end

    # @return [Integer] how many handlers may run at the same time
    def handlers
      @workers ? @workers.size : 0
    end

    # @return [Boolean] whether there are threads for its handlers, as long as it takes requests or events
    def workers_alive?
      @workers.nil? || @quieted || @workers.alive?
    end

    # @return [Boolean] whether it was told to take no more
    def quiet?
      @quieted ? true : false
    end

    # Returns whether it is of this process, and neither closed nor being closed.
    def open?
      !@quiet && @pid == Process.pid
    end

    def closed?
      @closed
    end

    # Closes a forked child's copies of the parent's sockets, which would keep the parent's connections open after its
    # death. Nothing else of the parent's engine is touched, because its locks may be held for ever.
    def abandon
      # This is done once, because in a grandchild the numbers may be those of other files.
      return if @abandoned

      @abandoned = true
      @engine.inherited_sockets.each { |descriptor| IO.for_fd(descriptor).close }
    rescue SystemCallError
      # Somebody has closed these descriptors already.
    end

    # Makes a forked child that disconnects not connect again.
    def renounce
      @closed = true
    end

    # Stops the intake. Running handlers go on, and calls may still be made.
    def quiet
      return if @workers.nil? || @pid != Process.pid

      @quieted = true
      @closing.synchronize do
        @workers.retire
        @engine.quiet
      end
    end

    # Stops the intake, waits for running handlers, and closes. Inside a handler, a callback or a trap block, another
    # thread waits and closes.
    def close(timeout)
      @quiet = true
      if pools.any?(&:current?) || in_trap?
        ThreadPool.name_thread(Thread.new { finish(timeout) }, "close #{@label}")
      else
        FiberWaker.outside { finish(timeout) }
      end
    end

    private

    # Takes a request and serves it. If the thread is killed before `@serve` is called, the thread that replaces it
    # serves the request: the engine holds it for this process, and nobody else would.
    # @yieldparam request [Native::Request, Native::ListRequest]
    # @yieldreturn [Object] what `@serve` is called with
    # @return [Native::Request, Native::ListRequest, nil] nil if the engine takes no more
    def serve_next
      request = @not_begun.shift || @engine.take
      return unless request

      subject = yield request
      begun = true
      running = @busy.begin(subject)
      @serve.call(subject)
      request
    ensure
      @busy.end(running) if running
      @not_begun.push(request) if request && !begun
    end

    # Tells the user of the next report. False at the end.
    def tell_one
      report = @engine.next_report
      pass_on(report) if report
      !report.nil?
    end

    # Acts on a report by `@report` or `@reconnected`, which subclasses set.
    # @param report [Native::Report]
    def pass_on(report)
      case report.kind
      when :failure then @report.call(report.error)
      when :reconnected then @reconnected.call(report.outage)
      end
    end

    def started
      engine = ProcessHooks.watching { yield @logins&.native }
    ensure
      @logins&.close unless engine
    end

    def pools
      [@workers, *@others, @fiber_waits&.pool, @logins&.pool].compact
    end

    # Fibers wait for calls by this object, which is made when the first one waits.
    def fiber_waits
      @fiber_waits || @starting.synchronize { @fiber_waits ||= FiberWaits.new(@engine, @label) }
    end

    # Returns whether this process is a fork of the engine's: a handler may have forked, and run on in the child.
    def abandoned?
      @abandoned
    end

    def finish(timeout)
      @closing.synchronize do
        @quieted = true
        deadline = Monotonic.now + timeout
        pools.each(&:retire)
        @engine.quiet if @workers
        @workers&.join(deadline)
        wait_for_answers(deadline)
        @engine.close
        @logins&.close
        @others.each { |pool| pool.join(deadline) }
        @closed = true
        ProcessHooks.forget(self)
      end
    end

    # A subclass waits here for handlers that may answer after they have returned.
    def wait_for_answers(deadline); end

    # A trap block may not wait for a lock, because the code that it interrupted may hold it.
    def in_trap?
      Mutex.new.synchronize { false }
    rescue ThreadError
      true
    end
  end
  private_constant :EngineSession
end

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
      @label = "#{stream.name}/#{stream.group}"
      @settings = settings
      @serves = serves
      @pid = Process.pid
      @closing = Mutex.new
      @watching = Mutex.new
      @callbacks = {}
      @threads = { consumer: [], dispatcher: [] }
      @engine = Native::Engine.start(stream.name, stream.group, settings.core, serves)
    end

    # @param serve [#call] runs the handler for an entry
    # @param report [#call] tells the user of an error
    # @return [self]
    def run(serve:, report:)
      @serve = serve
      @report = report
      consumers, dispatchers = @engine.pool_sizes
      start(:consumer, consumers) if @serves
      start(:dispatcher, dispatchers)
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

    # Runs the block in a dispatcher thread when the call ends; here and now if it has ended.
    def when_settled(call, &callback)
      id = call.id
      @watching.synchronize { (@callbacks[id] ||= []) << callback }
      return if call.watch

      run_callbacks(id)
    end

    # Stops intake, waits for running handlers, closes. Called by a thread of its own (from inside a handler), it
    # leaves the waiting to another.
    def close(timeout)
      @quiet = true
      if @threads.values.flatten.include?(Thread.current)
        Thread.new { finish(timeout) }.name = "redis_ipc close #{@label}"
      else
        finish(timeout)
      end
    end

    private

    def start(role, count)
      count.times { |index| @threads[role][index] = start_one(role, index) }
    end

    # A thread that is killed is replaced: the pool keeps its size.
    def start_one(role, index)
      Thread.new do
        Thread.current.name = "redis_ipc #{role} #{index + 1} #{@label}"
        Thread.current.report_on_exception = false
        role == :consumer ? consume : dispatch
        finished = true
      ensure
        @threads[role][index] = start_one(role, index) unless finished || @quiet
      end
    end

    def consume
      while (request = @engine.take)
        @serve.call(Entry.new(request, @engine))
      end
    end

    def dispatch
      while (report = @engine.next_report)
        report.is_a?(String) ? run_callbacks(report) : @report.call(report)
      end
    end

    def run_callbacks(id)
      callbacks = @watching.synchronize { @callbacks.delete(id) }
      callbacks&.each(&:call)
    end

    def finish(timeout)
      @closing.synchronize do
        deadline = now + timeout
        @engine.quiet
        join(:consumer, deadline)
        @engine.close
        join(:dispatcher, deadline)
        @closed = true
        ProcessHooks.forget(self)
      end
    end

    def join(role, deadline)
      @threads[role].each { |thread| thread.join([deadline - now, 0].max) }
    end

    def now
      Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end
  end
end

# frozen_string_literal: true

module RedisIPC
  # One connected period of a stream in one process: the engine, and the Ruby threads that serve it.
  # @api private
  class Session
    attr_reader :engine, :settings, :pid

    # @param stream [Stream]
    # @param settings [Settings]
    # @param serves [Boolean] whether there is a handler
    # @param serve [#call] runs the handler for an entry
    # @param report [#call] tells the user of an error
    def initialize(stream, settings, serves:, serve:, report:)
      @label = "#{stream.name}/#{stream.group}"
      @settings = settings
      @serve = serve
      @report = report
      @pid = Process.pid
      @closing = Mutex.new
      @watching = Mutex.new
      @callbacks = {}
      @engine = Native::Engine.start(stream.name, stream.group, settings.core, serves)
      start_threads(serves)
    end

    def connected?
      !@quiet && @engine.connected?
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
      if own_thread?
        Thread.new { finish(timeout) }.name = "redis_ipc close #{@label}"
      else
        finish(timeout)
      end
    end

    private

    def start_threads(serves)
      consumers, dispatchers = @engine.pool_sizes
      @consumers = serves ? start(consumers, "consumer") { consume } : []
      @dispatchers = start(dispatchers, "dispatcher") { dispatch }
    end

    def start(count, role, &work)
      Array.new(count) do |index|
        Thread.new(&work).tap do |thread|
          thread.name = "redis_ipc #{role} #{index + 1} #{@label}"
          thread.report_on_exception = false
        end
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

    def own_thread?
      @consumers.include?(Thread.current) || @dispatchers.include?(Thread.current)
    end

    def finish(timeout)
      @closing.synchronize do
        deadline = now + timeout
        @engine.quiet
        join(@consumers, deadline)
        @engine.close
        join(@dispatchers, deadline)
      end
    end

    def join(threads, deadline)
      threads.each { |thread| thread.join([deadline - now, 0].max) }
    end

    def now
      Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end
  end
end

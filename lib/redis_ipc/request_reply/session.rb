# frozen_string_literal: true

module RedisIPC
  # A session is one connected period of a stream in one process: the engine, and the Ruby threads that serve it.
  # @api private
  class Session < EngineSession
    attr_reader :settings

    # Connects; {#run} starts the threads.
    # @param stream [Stream]
    # @param settings [Settings]
    # @param serves [Boolean] whether there is a handler
    def initialize(stream, settings, serves:)
      @stream = stream
      @settings = settings
      @serves = serves
      @watching = BriefMutex.new
      @callbacks = {}
      label = "#{stream.stream_name}/#{stream.group_name}"
      @dispatchers = ThreadPool.new("dispatcher", label) { dispatch_one }
      super(label, settings.callables,
            workers: ThreadPool.new("consumer", label, serves: [stream.stream_name, stream.group_name]) { serve_one },
            labels: { kind: "request_reply", stream: stream.stream_name, group: stream.group_name },
            others: [@dispatchers]) do |logins|
        Native::Engine.start(stream.stream_name, stream.group_name, settings.core, serves, logins)
      end
    end

    # @return [String] the stream's name
    def stream_name
      @stream.stream_name
    end

    # @return [Object, nil] the stream's own logger
    def logger
      settings.logger
    end

    def reconnect_after_fork?
      settings.reconnect_after_fork
    end

    # @param serve [#call] runs the handler for an entry
    # @param report [#call] tells the user of an error
    # @param overrun [#call] tells the user of an entry whose handler outlasts its deadline, and where it is
    # @param slow [#call] notes where the handler of an entry is that runs for long
    # @return [self]
    def run(serve:, report:, overrun:, slow:)
      @serve = serve
      @report = report
      @lookers = { overrun: overrun, slow: slow }.freeze
      @reconnected = method(:reconnected)
      @workers.start(@engine.consumers) if @serves
      @dispatchers.start(@engine.dispatchers)
      self
    end

    # Asks and waits for the answer.
    # @param group [String]
    # @param content [Object]
    # @param timeout [Float, nil] seconds
    # @param context [Native::Context, nil] what the call belongs to
    # @return [Native::Answer]
    def ask(group, content, timeout, context = nil)
      return @engine.ask(group, content, timeout, context) unless FiberWaker.needed?

      fiber_waits.answer(@engine.ask_async(group, content, timeout, context))
    end

    # Waits for the end of a call.
    # @return [Boolean] whether it has ended
    def wait(call, timeout)
      return call.wait(timeout) if timeout&.zero? || !FiberWaker.needed?

      fiber_waits.wait(call, timeout)
    end

    # Runs the block in a dispatcher thread when the call ends, or at once in this thread if it has ended.
    def when_settled(call, &callback)
      id = call.id
      @watching.synchronize { (@callbacks[id] ||= []) << callback }
      return if call.watch

      run_callbacks(id)
    end

    # @return [Hash{Symbol => Integer}] the counters, and how many threads run handlers and are doing so
    def stats
      super.merge(handlers: handlers, busy_handlers: running.size)
    end

    # @return [Integer] 0 without a handler
    def handlers
      @serves ? super : 0
    end

    # Returns whether the deadline of its request has passed.
    # @param running [RunningHandlers::Running]
    def overdue?(running)
      running.subject.expired?
    end

    # @return [Boolean] true without a handler
    def workers_alive?
      !@serves || super
    end

    # Tells the user of an error.
    def tell(exception)
      @report.call(exception)
    end

    private

    def serve_one
      entry = nil
      request = serve_next { |native| entry = Entry.new(native, @engine) }
      return false if request.nil? || abandoned?

      request.leave
      true
    ensure
      # The thread was killed.
      entry.native.vanish if entry && request.nil? && !abandoned?
    end

    # Waits for handlers that have returned and left the answer to other threads.
    def wait_for_answers(deadline)
      @engine.wait_for_answers([deadline - Monotonic.now, 0].max.to_f) if @serves
    end

    def dispatch_one
      begun = false
      report = @engine.next_report
      return false unless report

      RedisIPC.framework.around_callback do
        begun = true
        pass_on(report)
      end
      true
    ensure
      # The thread was killed in between, and nobody else will get this report.
      pass_on(report) if report && !begun
    end

    def pass_on(report)
      case report.kind
      when :settled then run_callbacks(report.id)
      when :overrun, :slow then look(report.id, @lookers.fetch(report.kind))
      else super
      end
    end

    # Calls the looker with an entry and where its handler is, unless that has just ended.
    def look(redis_id, looker)
      one = running.to_a.find { |it| it.subject.redis_id == redis_id }
      looker.call(one.subject, one.thread.backtrace || []) if one
    end

    def reconnected(outage)
      place = { stream: @stream.stream_name, group: @stream.group_name, id: @engine.instance_id }
      Instrumentation.publish(:reconnect, { **place, duration: outage })
    end

    def run_callbacks(id)
      callbacks = @watching.synchronize { @callbacks.delete(id) }
      run_each(callbacks) if callbacks
    end

    # Runs the callbacks. If one ends the thread (`Thread.exit`), the others run all the same.
    def run_each(callbacks)
      run_callback(callbacks.shift) until callbacks.empty?
    ensure
      run_each(callbacks) unless callbacks.empty?
    end

    # Runs one callback. If it raises, the others run all the same.
    def run_callback(callback)
      callback.call
    rescue StandardError => e
      @report.call(e)
    end
  end
end

# frozen_string_literal: true

module RedisIPC
  module JSONRPC
    # One connected period of a server or a client in one process: the engine, and the Ruby threads that serve it.
    # @api private
    class Session
      attr_reader :engine, :pid

      # @param engine [Native::ListServer, Native::ListClient]
      # @param label [String] for the names of threads
      def initialize(engine, label)
        @engine = engine
        @label = label
        @pid = Process.pid
        @closing = Mutex.new
        @threads = { worker: [], reporter: [] }
      end

      # @param workers [Integer] how many threads run methods
      # @param report [#call] tells the user of an error
      # @param serve [Proc] runs one request
      # @return [self]
      def run(workers:, report:, &serve)
        start(:worker, workers) { work(serve) }
        start(:reporter, 1) { tell(report) }
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

      # In a forked child: closes its copies of the parent's sockets, and touches nothing else of the parent's.
      def abandon
        # Once: for a grandchild the numbers may be those of other files by now.
        return if @abandoned

        @abandoned = true
        @engine.inherited_sockets.each { |descriptor| IO.for_fd(descriptor).close }
      rescue SystemCallError
        # Somebody closed descriptors wholesale: nothing is left to close.
      end

      # Takes nothing more, waits for running methods, closes. Called by a thread of its own, it leaves the waiting to
      # another.
      def close(timeout)
        @quiet = true
        if @threads.values.flatten.include?(Thread.current)
          Thread.new { finish(timeout) }.name = "redis_ipc rpc close #{@label}"
        else
          finish(timeout)
        end
      end

      private

      def start(role, count, &body)
        count.times { |index| @threads[role][index] = start_one(role, index, body) }
      end

      # A thread that is killed is replaced: the pool keeps its size.
      def start_one(role, index, body)
        Thread.new do
          Thread.current.name = "redis_ipc rpc #{role} #{index + 1} #{@label}"
          Thread.current.report_on_exception = false
          body.call
          finished = true
        ensure
          @threads[role][index] = start_one(role, index, body) unless finished || @quiet
        end
      end

      def work(serve)
        while (request = @engine.take)
          serve.call(request)
        end
      end

      def tell(report)
        while (exception = @engine.next_report)
          report.call(exception)
        end
      end

      def finish(timeout)
        @closing.synchronize do
          deadline = now + timeout
          @engine.quiet unless @threads[:worker].empty?
          join(:worker, deadline)
          @engine.close
          join(:reporter, deadline)
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
end

# frozen_string_literal: true

module RedisIPC
  # Handles forks and the end of the process for connected streams, JSON-RPC servers and clients.
  # @api private
  module ProcessHooks
    # The thread variable that marks the thread which forks a worker.
    WORKER = :redis_ipc_worker
    private_constant :WORKER

    @on_fork = []
    @on_end = []
    @streams = {}.compare_by_identity
    @mutex = Mutex.new

    class << self
      # @yield runs in each child, right after the fork; it must not block
      def on_fork(&block)
        @on_fork << block
      end

      # @yield runs when a session has been closed; it must not block, nor connect or disconnect anything
      # @yieldparam session [EngineSession]
      # @yieldparam stream [Stream, JSONRPC::Endpoint] what it belongs to
      def on_end(&block)
        @on_end << block
      end

      # Runs the block while no session opens or ends.
      # @yieldparam streams [Hash{EngineSession => Object}] what each open session belongs to
      def look
        @mutex.synchronize { yield @streams }
      end

      # @return [Boolean] whether this process works for the one that forked it (see {fork_worker})
      def worker?
        @worker ? true : false
      end

      # Forks a process that works for this one. What is connected here is not connected there, too, before it is used.
      # @yield runs in the child, which ends with it. The `at_exit` blocks are this process's, and do not run there
      # @return [Integer] the id of the child
      def fork_worker(&work)
        Thread.current.thread_variable_set(WORKER, true)
        pid = Process.fork
        return pid if pid

        status = 1
        status = run_worker(&work)
      ensure
        exit!(status) if status
      end

      # Runs the block, which starts an engine, with the signals watched. Without another thread Ruby before 3.3 starts
      # one for each wait in native code, and where the garbage collector runs at every allocation (GC.stress) it then
      # may find an interrupt each time, and never begin to wait (seen).
      # @return [Object, nil] what the block returns
      def watching
        @mutex.synchronize { SignalWatch.start }
        engine = yield
      ensure
        @mutex.synchronize { SignalWatch.stop if @streams.empty? } unless engine
      end

      # @param session [EngineSession] one that is open
      # @param stream [Stream, JSONRPC::Endpoint] what it belongs to
      def remember(session, stream)
        @mutex.synchronize do
          @streams[session] = stream
          SignalWatch.start
          @installed ||= at_exit { disconnect_at_exit } || true
        end
      end

      # @param session [EngineSession] one that is closed
      def forget(session)
        @mutex.synchronize do
          stream = @streams.delete(session)
          @on_end.each { |block| block.call(session, stream) } if stream
          SignalWatch.stop if @streams.empty?
        end
      end

      # Runs in a child right after the fork. The sessions are the parent's; they stay registered until their streams
      # have new ones, because the child may fork before that.
      def after_fork
        @mutex = Mutex.new
        @worker ||= Thread.current.thread_variable_get(WORKER)
        # Streams that are connected again register themselves meanwhile.
        @streams.dup.each_value(&(@worker ? :leave_to_parent : :reconnect_after_fork))
        @on_fork.each(&:call)
      end

      # Stops the intake of all streams. Threads do it, so that it waits for nothing and may be called in a trap block.
      def quiet_all
        Thread.new { @mutex.synchronize { @streams.keys }.each { |session| Thread.new { session.quiet } } }
        nil
      end

      # Disconnects all at the same time, so that none takes requests while another waits for its handlers.
      def disconnect_all(timeout = nil)
        timeout ||= RedisIPC.configuration.shutdown_timeout
        *others, last = @mutex.synchronize { @streams.values }
        threads = others.map { |stream| beside { stream.disconnect(timeout: timeout) } }
        last&.disconnect(timeout: timeout)
        threads.compact.each(&:join)
        nil
      end

      private

      # @return [Integer] the status that the process ends with
      def run_worker
        yield
        0
      rescue SystemExit => e
        e.status
      rescue Exception => e # rubocop:disable Lint/RescueException -- the process ends with it
        ErrorReport.warning("redis_ipc: the worker process #{Process.pid} ends: #{e.full_message(highlight: false)}")
        1
      ensure
        [$stdout, $stderr].each(&:flush)
      end

      # Runs after all other `at_exit` blocks, because they may still use the streams. A stream that connects during or
      # after it gets a block of its own.
      def disconnect_at_exit
        return if ExitBlocks.after_last { disconnect_at_exit }

        @mutex.synchronize { @installed = false }
        disconnect_all
      end

      # Runs the block in a thread, or here if the process may have no more threads.
      def beside(&block)
        Thread.new(&block)
      rescue ThreadError
        yield
        nil
      end
    end

    # The only monkey patch of the gem: Ruby's documented hook for forks (Ruby 3.1, `Process._fork`).
    module Fork
      # @return [Integer] 0 in the child
      def _fork
        pid = super
        ProcessHooks.after_fork if pid.zero?
        pid
      end
    end

    Process.singleton_class.prepend(Fork)
  end
  private_constant :ProcessHooks
end

# frozen_string_literal: true

module RedisIPC
  # Handles forks and the end of the process for connected streams, JSON-RPC servers and clients.
  # @api private
  module ProcessHooks
    @on_fork = []
    @streams = {}.compare_by_identity
    @mutex = Mutex.new

    class << self
      # @yield runs in each child, right after the fork; it must not block
      def on_fork(&block)
        @on_fork << block
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
          @streams.delete(session)
          SignalWatch.stop if @streams.empty?
        end
      end

      # Runs in a child right after the fork. The sessions are the parent's; they stay registered until their streams
      # have new ones, because the child may fork before that.
      def after_fork
        @mutex = Mutex.new
        # Streams that are connected again register themselves meanwhile.
        @streams.dup.each_value(&:reconnect_after_fork)
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

# frozen_string_literal: true

module RedisIPC
  # What ties connected streams to the life of the process: forks and the end.
  # @api private
  module ProcessHooks
    # Seconds that running handlers are given when the process ends.
    EXIT_TIMEOUT = 2
    private_constant :EXIT_TIMEOUT

    @streams = ObjectSpace::WeakMap.new
    @mutex = Mutex.new

    class << self
      # @param stream [Stream] one that is connected
      def remember(stream)
        @mutex.synchronize do
          @streams[stream] = true
          next if @installed_in == Process.pid

          at_exit { disconnect_all } unless @installed_in
          @installed_in = Process.pid
        end
      end

      # Called in a child right after the fork.
      def after_fork
        @mutex = Mutex.new
        remembered.each(&:reconnect_after_fork)
      end

      private

      def disconnect_all
        remembered.each { |stream| stream.disconnect(timeout: EXIT_TIMEOUT) }
      end

      def remembered
        @streams.keys
      end
    end

    # The one monkey patch: Ruby's documented hook for libraries that must know of forks (Ruby 3.1, Process._fork).
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

# frozen_string_literal: true

module RedisIPC
  module Events
    # The objects of the workers (threads or fibers): each makes its own when it first needs it, and closes it when it
    # ends.
    # @api private
    class Resources
      # The thread variable that holds the resources its thread has a share in.
      KEY = :redis_ipc_resources

      # @return [Object] the current worker's
      # @raise [Error]
      def self.current
        resources = Thread.current.thread_variable_get(KEY)
        raise Error, "no handler with a resource runs in this thread: say resource { } in the class" unless resources

        resources.fetch
      end

      # @param make [#call]
      # @param worker [#call] returns the current worker; without it that is the thread
      # @yieldparam exception [Exception] what closing one raised
      def initialize(make, worker = Thread.method(:current), &report)
        @make = make
        @worker = worker
        @report = report
        @made = {}.compare_by_identity
      end

      # Gives the current thread a share.
      def enter
        Thread.current.thread_variable_set(KEY, self)
      end

      # Gives the current thread a share while the block runs.
      # @yield what may fetch its resource
      # @return [Object] what the block returns
      def within
        before = Thread.current.thread_variable_get(KEY)
        enter
        yield
      ensure
        leave
        Thread.current.thread_variable_set(KEY, before)
      end

      # @return [Object]
      def fetch
        @made.fetch(@worker.call) { |worker| @made[worker] = @make.call }
      end

      # Closes what a worker made.
      # @param worker [Object] the current thread, or what `worker` returned
      def leave(worker = Thread.current)
        made = @made.delete(worker)
        made.close if made.respond_to?(:close)
      rescue StandardError => e
        @report.call(e)
      end

      # Closes what all workers made.
      def leave_all
        workers = @made.keys
        workers.each { |worker| leave(worker) }
      end
    end
    private_constant :Resources
  end
end

# frozen_string_literal: true

module RedisIPC
  module Events
    # The objects of the workers (threads or fibers). Each worker makes its own on first use, and closes it when it
    # ends.
    # @api private
    class Resources
      # The thread variable that holds the resources that its thread uses.
      KEY = :redis_ipc_resources

      # @return [Object] that of the current worker
      # @raise [Error]
      def self.current
        resources = Thread.current.thread_variable_get(KEY)
        raise Error, "no handler with a resource runs in this thread: say resource { } in the class" unless resources

        resources.fetch
      end

      # @param make [#call]
      # @param worker [#call] returns the current worker; by default that is the thread
      # @yieldparam exception [Exception] what closing an object raised
      def initialize(make, worker = Thread.method(:current), &report)
        @make = make
        @worker = worker
        @report = report
        @made = {}.compare_by_identity
      end

      # Lets the current thread use these resources.
      def enter
        Thread.current.thread_variable_set(KEY, self)
      end

      # Lets the current thread use these resources while the block runs.
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

      # Closes the object of a worker.
      # @param worker [Object] the current thread, or what `worker` returned
      def leave(worker = Thread.current)
        made = @made.delete(worker)
        made.close if made.respond_to?(:close)
      rescue StandardError => e
        @report.call(e)
      end

      # Closes the objects of all workers.
      def leave_all
        workers = @made.keys
        workers.each { |worker| leave(worker) }
      end
    end
    private_constant :Resources
  end
end

# frozen_string_literal: true

module RedisIPC
  module Events
    module Executors
      class Processes
        # A worker process, seen from the process that forked it.
        # @api private
        class Worker
          # @return [Integer]
          attr_reader :pid
          # @return [Array<Connection>] one for each of its threads
          attr_reader :connections

          # Forks it.
          # @param process [WorkerProcess] what it runs
          # @param threads [Integer] how many threads it has
          # @raise [SystemCallError] if there can be no more processes
          # @raise [ThreadError] if there can be no more threads
          def initialize(process, threads)
            @connections = []
            life, @life = IO.pipe
            Connection.keep(@life)
            others = Array.new(threads) { connect }
            @pid = fork_here { process.run(others, life) }
            @waiter = Thread.new { wait }
            ThreadPool.name_thread(@waiter, "worker #{@pid}")
          ensure
            [*others, life].each { |file| file&.close }
            close unless @life.nil? || @waiter
          end

          # @return [Boolean] false once it is known to have ended
          def alive?
            @waiter.alive?
          end

          # Lets it finish what it has begun, and end then.
          def finish
            @connections.each(&:finish_writing)
          end

          # @param seconds [Numeric]
          # @return [Boolean] whether it has ended by then
          def join(seconds)
            !@waiter.join(seconds).nil?
          end

          # Ends it at once.
          def kill
            # As long as nobody has waited for it, no other process can get its id.
            Process.kill(:KILL, @pid) if alive?
          rescue SystemCallError
            # Someone else has waited for it.
          ensure
            @waiter.join
          end

          # Closes its connections, once it has ended.
          # @yieldparam number [Integer] of a thread
          # @yieldreturn [Boolean] whether to leave the connection of that thread open
          def close
            @connections.each_with_index { |connection, number| connection.close unless block_given? && yield(number) }
            Connection.forget(@life)
            @life.close
          end

          # @return [String] how it ended
          def ending
            status = @waiter.value
            return "ended" if status.nil?
            return "was killed by SIG#{Signal.signame(status.termsig)}" if status.signaled?

            "exited with status #{status.exitstatus}"
          end

          private

          # @return [UNIXSocket] for the worker
          def connect
            own, other = Connection.pair
            @connections << own
            other
          end

          # Forks in a new thread, because the child has only the thread that forks. A new one holds no lock, and is in
          # no `ensure` of the caller.
          def fork_here(&run)
            thread = Thread.new { ProcessHooks.fork_worker(&run) }
            thread.report_on_exception = false
            thread.value
          end

          # @return [Process::Status, nil] nil if someone else has waited for it
          def wait
            Process.wait2(@pid).last
          rescue SystemCallError
            nil
          ensure
            # The worker may itself have forked a child with copies of its sockets. Then they are not closed when the
            # worker ends.
            @connections.each(&:shut_down)
          end
        end
      end
    end
  end
end

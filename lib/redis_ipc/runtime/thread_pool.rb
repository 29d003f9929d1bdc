# frozen_string_literal: true

module RedisIPC
  # Runs named threads that do one kind of work until there is no more. A thread that is killed is replaced, so the pool
  # keeps its size.
  # @api private
  class ThreadPool
    # The thread variable that holds the pool a thread belongs to.
    OWNER = :redis_ipc_pool
    private_constant :OWNER

    class << self
      # Runs the block, which waits for work that a pool may have to do. If the current thread belongs to a pool and all
      # threads of that pool wait in this way, one more is started; otherwise no thread could do the work.
      def wait_in_turn(&block)
        pool = current
        pool&.here? ? pool.stand_in(&block) : yield
      end

      # @return [ThreadPool, nil] the pool of the current thread
      def current
        Thread.current.thread_variable_get(OWNER)
      end

      # Names a thread. The name of a stream may contain a NUL, that of a thread may not.
      def name_thread(thread, text)
        thread.name = "redis_ipc #{text.delete("\0")}"
      end
    end

    # @param role [String] the first part of its threads' names
    # @param place [String] the last part: the stream and group, or the queue
    # @param serves [Array<String>, nil] the stream and group, or the queue, whose requests its threads answer
    # @param ended [#call, nil] runs in each thread when it ends
    # @yieldreturn [Boolean] whether there may be more work; each thread calls the block over and over
    def initialize(role, place, serves: nil, ended: nil, &work)
      @role = role
      @place = place
      @serves = serves
      @ended = ended
      @work = work
      @pid = Process.pid
      @mutex = Mutex.new
      @threads = {}
      @size = 0
      @waiting = 0
      @nested = 0
    end

    # @param size [Integer] how many threads
    def start(size)
      @mutex.synchronize do
        @size = size
        (1..size).each { |number| start_one(number) }
      end
    end

    # Returns whether the current thread belongs to this pool.
    def current?
      Thread.current.thread_variable_get(OWNER).equal?(self)
    end

    # Returns whether the pool is of this process. In a fork of one of its threads it is not.
    def here?
      @pid == Process.pid
    end

    # From now on no thread is replaced.
    def retire
      @retired = true
    end

    # Returns whether any of its threads is alive. One that is killed is replaced before it ends.
    def alive?
      @threads.values.any?(&:alive?)
    end

    # @yieldparam thread [Thread] each of them
    def each(&block)
      @threads.values.each(&block)
    end

    # Waits until its threads have ended.
    # @param deadline [Float] the moment of {Monotonic} at which the wait ends
    def join(deadline)
      each { |thread| thread.join([deadline - Monotonic.now, 0].max) }
    end

    # Waits until its threads have ended by themselves. One that is killed is replaced before it ends.
    def wait
      loop do
        alive = @threads.values.select(&:alive?)
        break if alive.empty?

        alive.each(&:join)
      end
    end

    # @see .wait_in_turn
    def stand_in
      @mutex.synchronize do
        @waiting += 1
        start_one(free_number) if @waiting >= @threads.size && !@retired
      end
      yield
    ensure
      @mutex.synchronize { @waiting -= 1 }
    end

    # @return [Integer] the intended number of threads
    attr_reader :size

    # Returns whether its threads answer the requests of a place.
    def serves?(place, group = nil)
      @serves == [place, group].compact
    end

    # Runs the block, in which a thread of this pool waits for an answer that a thread of such a pool must give.
    # @yieldparam exhausted [#call] whether all threads were waiting in this way at one moment since then
    def wait_for_own
      began = Monotonic.now
      @mutex.synchronize do
        @nested += 1
        @exhausted_at = Monotonic.now if @nested >= @size
      end
      yield -> { !@exhausted_at.nil? && @exhausted_at >= began }
    ensure
      @mutex.synchronize { @nested -= 1 }
    end

    private

    # Reusing a number would overwrite a live thread's entry, and that thread could never be retired.
    def free_number
      (1..).find { |number| !@threads.key?(number) }
    end

    def start_one(number)
      thread = Thread.new { run(number) }
      ThreadPool.name_thread(thread, "#{@role} #{number} #{@place}")
      thread.report_on_exception = false
      @threads[number] = thread
    end

    def run(number)
      Thread.current.thread_variable_set(OWNER, self)
      nil while @work.call && !surplus?(number)
      finished = true
    ensure
      @ended&.call if here?
      replace(number) if !finished && !@retired && here?
    end

    def replace(number)
      @mutex.synchronize { start_one(number) }
    end

    # Returns whether this thread should end, because more threads work than intended since the waiting ones came back.
    def surplus?(number)
      return false if @threads.size <= @size

      @mutex.synchronize { @threads.size - @waiting > @size && !@threads.delete(number).nil? }
    end
  end
  private_constant :ThreadPool
end

# frozen_string_literal: true

module RedisIPC
  # Named threads that do one kind of work until there is no more. One that is killed is replaced: the pool keeps its
  # size.
  # @api private
  class ThreadPool
    # The thread variable that holds the pool a thread belongs to.
    OWNER = :redis_ipc_pool
    private_constant :OWNER

    class << self
      # Runs the block, which waits for what a pool may have to do. If the current thread belongs to a pool and all of
      # the pool's threads wait so, one more is started: else nobody would be left to do it.
      def wait_in_turn(&block)
        pool = current
        pool&.here? ? pool.stand_in(&block) : yield
      end

      # @return [ThreadPool, nil] the one that the current thread belongs to
      def current
        Thread.current.thread_variable_get(OWNER)
      end

      # Names a thread. Names of streams may have a NUL in them, those of threads may not.
      def name_thread(thread, text)
        thread.name = "redis_ipc #{text.delete("\0")}"
      end
    end

    # @param role [String] what its threads are called
    # @param place [String] for whom they work, for their names
    # @param serves [Array<String>, nil] whose requests they answer: stream and group, or queue
    # @yieldreturn [Boolean] whether there may be more to do; called over and over by each thread
    def initialize(role, place, serves: nil, &work)
      @role = role
      @place = place
      @serves = serves
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

    # Returns whether the current thread is one of them.
    def current?
      Thread.current.thread_variable_get(OWNER).equal?(self)
    end

    # Returns whether it is of this process: a fork of one of its threads still bears its name.
    def here?
      @pid == Process.pid
    end

    # From now on nobody is replaced.
    def retire
      @retired = true
    end

    # @yieldparam thread [Thread] each of them
    def each(&block)
      @threads.values.each(&block)
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

    # @return [Integer] how many threads it should have
    attr_reader :size

    # Returns whether its threads answer what is asked at this place.
    def serves?(place, group = nil)
      @serves == [place, group].compact
    end

    # Runs the block, in which a thread of this pool waits for an answer from a thread of a pool like this.
    # @yieldparam exhausted [#call] whether all threads waited so at once since then
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

    # One with the number of another would take its place here, and that one would never be one too many.
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
      replace(number) if !finished && !@retired && here?
    end

    def replace(number)
      @mutex.synchronize { start_one(number) }
    end

    # Returns whether more threads work than there should be, since those that waited came back: then this one goes.
    def surplus?(number)
      return false if @threads.size <= @size

      @mutex.synchronize { @threads.size - @waiting > @size && !@threads.delete(number).nil? }
    end
  end
  private_constant :ThreadPool
end

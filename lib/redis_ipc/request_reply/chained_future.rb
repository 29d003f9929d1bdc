# frozen_string_literal: true

module RedisIPC
  # A chained future is the result of a block that runs once a call is fulfilled. {Future#then} returns it.
  class ChainedFuture
    include Undumpable

    FORKED = "the call was made before this process was forked; its answer goes to the parent"
    private_constant :FORKED

    # @api private
    def initialize(source, block, session)
      @pid = Process.pid
      @source = source
      @block = block
      @session = session
      @waiting = 0
      @mutex = BriefMutex.new
      @changed = ConditionVariable.new
      @state = :pending
      @followers = []
    end

    # Runs the block, or passes the failure on.
    # @api private
    def run
      settle(:fulfilled, call_block(@source.value!))
    rescue Exception => e # rubocop:disable Lint/RescueException -- `value` raises it again
      settle(:failed, e)
    ensure
      settle(:failed, Error.new("the thread that ran the block was stopped")) unless settled?
    end

    # Waits until the block has run, or it is certain that it will not.
    # @param timeout [Numeric, nil] seconds; nil waits without end
    # @return [Boolean] whether the block has run, or will not
    # @raise [NotConnectedError] if the call was made before this process was forked
    def wait(timeout = nil)
      return true if settled?

      check_process
      timeout = Monotonic.wait_time(timeout)
      deadline = timeout && (Monotonic.now + timeout)
      RedisIPC.framework.around_wait do
        FiberWaker.needed? ? wait_in_fiber(deadline) : ThreadPool.wait_in_turn { wait_here(deadline) }
      end
    end

    # @return [Boolean] whether the block has run, or will not
    def settled?
      @state != :pending
    end

    # Waits for the answer, and returns it.
    # @return [Response] the response whose value the block was given
    # @raise (see Future#response)
    def response
      @source.response
    end

    # Waits for the block, and returns what it returned.
    # @return [Object, nil] the result; nil if the request was rejected
    # @raise [OverloadedError] if the group asked was too busy to run the request
    # @raise [CallError] if there was no answer
    # @raise [StandardError] what the block raised
    def value
      value!
    rescue RejectedError => e
      overload = e.response&.overload
      raise overload if overload

      e.response&.value
    end

    # Waits for the block, and returns what it returned; raises for a rejection.
    # @return [Object] the result
    # @raise [RejectedError] if the request was rejected
    # @raise (see #value)
    def value!
      wait
      raise @result if @state == :failed

      @result
    end

    # Runs another block with the result of this one, as {Future#then} does.
    # @yieldparam value [Object] what the block before returned
    # @return [ChainedFuture] the future of what the block returns
    # @raise [NotConnectedError] if the call was made before this process was forked
    def then(&block)
      raise ArgumentError, "then needs a block" unless block

      check_process unless settled?
      chained = ChainedFuture.new(self, block, @session)
      chained.run unless follow { chained.run }
      chained
    end

    # @return [Boolean] whether it failed because a block raised, this one's or one before it
    # @api private
    def raised?
      @raised || (@source.is_a?(ChainedFuture) && @source.raised?)
    end

    private

    def call_block(value)
      @block.call(value)
    rescue Exception # rubocop:disable Lint/RescueException -- see run
      @raised = true
      raise
    end

    def check_process
      raise NotConnectedError.new(FORKED, outcome: :not_sent) unless @pid == Process.pid
    end

    def wait_here(deadline)
      @mutex.synchronize do
        @waiting += 1
        while @state == :pending
          left = deadline && (deadline - Monotonic.now)
          return false if left && left <= 0

          @changed.wait(@mutex, left)
        end
        true
      ensure
        @waiting -= 1
      end
    end

    def wait_in_fiber(deadline)
      waker = FiberWaker.new
      follow { waker.wake }
      until settled?
        left = deadline && (deadline - Monotonic.now)
        return false if left && left <= 0

        waker.await(left)
      end
      true
    end

    # Registers a block that runs when this future settles. Returns false if it has settled already.
    def follow(&block)
      @mutex.synchronize { settled? ? false : @followers.push(block) }
    end

    def settle(state, result)
      heard = false
      followers = @mutex.synchronize do
        @result = result
        @state = state
        @changed.broadcast
        heard = @waiting.positive? || @followers.any?
        @followers
      end
      @session.tell(result) if state == :failed && !heard && raised?
      run_each(followers)
    end

    # Runs the followers. If one ends the thread (`Thread.exit`), the others run all the same.
    def run_each(followers)
      followers.shift.call until followers.empty?
    ensure
      run_each(followers) unless followers.empty?
    end
  end
end

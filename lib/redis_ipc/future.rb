# frozen_string_literal: true

module RedisIPC
  # A call under way. Thousands may be in flight from one thread.
  class Future
    include Undumpable

    # @api private
    def initialize(call, session, group = nil)
      @call = call
      @session = session
      @group = group
    end

    # Waits for the end of the call.
    # @param timeout [Numeric, nil] seconds; nil waits until the call's own deadline
    # @return [Boolean] whether the call has ended
    # @raise [ArgumentError] if the timeout is no number of seconds
    def wait(timeout = nil)
      timeout = Monotonic.wait_time(timeout)
      return true if @call.ended?
      return @session.wait(@call, 0.0) if timeout&.zero?

      Execution.wait { @session.wait(@call, timeout) }
    end

    # @return [Boolean] whether the call has ended
    def settled?
      wait(0)
    end

    # Waits for the answer.
    # @return [Response]
    # @raise [TimeoutError] at the call's deadline
    # @raise [CallError] if the call failed otherwise
    def response
      @response ||= Response.new(@call.answer || awaited, @session.logger)
    end

    # Waits for the answer.
    # @return [Object, nil] its value; nil if it was rejected
    # @raise [OverloadedError] if the group asked was too busy to run it
    # @raise [CallError] if there was no answer
    def value
      overload = response.overload
      overload ? raise(overload) : response.value
    end

    # Waits for the answer.
    # @return [Object] its value
    # @raise [RejectedError] if it was rejected
    # @raise [CallError] if there was no answer
    def value!
      response.value!
    end

    # Runs the block with the value once the request is fulfilled, in one of the stream's dispatcher threads (or at
    # once in this one, if the call has ended already).
    # @yieldparam value [Object]
    # @return [ChainedFuture] of what the block returns; a rejection or failure is passed on to it unchanged. If the
    #   block raises and nobody waits for it in that moment, `on_error` is told, too
    def then(&block)
      raise ArgumentError, "then needs a block" unless block

      chained = ChainedFuture.new(self, block, @session)
      @session.when_settled(@call) { chained.run }
      chained
    end

    # @return [String]
    def inspect
      "#<#{self.class} #{settled? ? "settled" : "pending"}>"
    rescue NotConnectedError
      "#<#{self.class} of another process>"
    end

    private

    def awaited
      NestedCalls.watch(@session.stream_name, @group) { wait && @call.answer }
    end
  end
end

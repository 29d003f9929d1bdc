# frozen_string_literal: true

module RedisIPC
  # A future is a call that is under way. One thread may have thousands of them.
  #
  # @example
  #   future = stream.async_send_to_group(content: 4, to: "squares", timeout: 2)
  #   future.value                              #=> 16
  #   future.then { |square| square * 2 }.value #=> 32
  class Future
    include Undumpable

    # @api private
    def initialize(call, session, group = nil)
      @call = call
      @session = session
      @group = group
    end

    # Waits until the call has ended, or for as long as said.
    # @param timeout [Numeric, nil] seconds; nil waits until the call's own deadline
    # @return [Boolean] whether the call has ended
    # @raise [ArgumentError] if the timeout is no number of seconds
    def wait(timeout = nil)
      timeout = Monotonic.wait_time(timeout)
      return true if @call.ended?
      return @session.wait(@call, 0.0) if timeout&.zero?

      RedisIPC.framework.around_wait { @session.wait(@call, timeout) }
    end

    # Returns whether the call has ended, without waiting.
    # @return [Boolean]
    def settled?
      wait(0)
    end

    # Waits for the answer, and returns it.
    # @return [Response] the answer, fulfilled or rejected
    # @raise [TimeoutError] if there is no answer at the call's deadline
    # @raise [CallError] if the call failed otherwise
    def response
      @response ||= Response.new(@call.answer || awaited, @session.logger)
    end

    # Waits for the answer, and returns its value.
    # @return [Object, nil] the value; nil if the request was rejected
    # @raise [OverloadedError] if the group asked was too busy to run it
    # @raise [CallError] if there was no answer
    def value
      overload = response.overload
      overload ? raise(overload) : response.value
    end

    # Waits for the answer, and returns its value; raises for a rejection.
    # @return [Object] the value
    # @raise [RejectedError] if the request was rejected
    # @raise [CallError] if there was no answer
    def value!
      response.value!
    end

    # Runs the block with the value once the request is fulfilled: in one of the stream's dispatcher threads, or at once
    # in this one, if the call has ended already. A rejection or a failure is passed on to the returned future
    # unchanged. If the block raises and nobody waits for that future in that moment, `on_error` is told, too.
    # @yieldparam value [Object] the value
    # @return [ChainedFuture] the future of what the block returns
    # @raise [ArgumentError] without a block
    def then(&block)
      raise ArgumentError, "then needs a block" unless block

      chained = ChainedFuture.new(self, block, @session)
      @session.when_settled(@call) { chained.run }
      chained
    end

    # Runs the block when the call has ended, however it did: in a dispatcher thread, or at once.
    # @return [void]
    # @api private
    def when_settled(&block)
      @session.when_settled(@call, &block)
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

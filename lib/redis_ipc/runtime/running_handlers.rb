# frozen_string_literal: true

module RedisIPC
  # Keeps which handlers of a session run now, and since when: a handler that hangs is only visible while it runs.
  # @api private
  class RunningHandlers
    # A handler that runs.
    # @!attribute subject [Object] what it handles: an {Entry}, a native request, or the native events that were taken
    #   together. These are taken together only while handlers are quick
    # @!attribute since [Float] when it began, by {Monotonic}
    # @!attribute thread [Thread] where it runs
    Running = Struct.new(:subject, :since, :thread) do
      # @return [Float] for how many seconds it has run
      def age
        Monotonic.now - since
      end
    end

    # The Hash is changed by many threads at the same time. Each operation on it is one call into Ruby's C code, which
    # holds the GVL, so there is no lock.
    def initialize
      @all = {}.compare_by_identity
    end

    # @param subject [Object] what the calling thread handles from now on
    # @return [Running] the argument for {#end}
    def begin(subject)
      running = Running.new(subject, Monotonic.now, Thread.current)
      @all[running] = true
      running
    end

    # @param running [Running, nil]
    # @return [void]
    def end(running)
      @all.delete(running)
    end

    # @return [Integer]
    def size
      @all.size
    end

    # @return [Array<Running>] a copy, because other threads begin and end handlers meanwhile
    def to_a
      @all.keys
    end
  end
  private_constant :RunningHandlers
end

# frozen_string_literal: true

module RedisIPC
  # Keeps streams, JSON-RPC servers and clients connected, over forks too, and disconnects them.
  #
  # An includer has `@lifecycle` (a Mutex) and defines `place` (for its errors), `subject` (its name in them), `title`
  # (for the names of its threads), `open_session(settings)` and `report(exception)`.
  module Lifecycle
    include Undumpable

    # The longest pause between two attempts of a forked child, in seconds: long enough not to be a hot loop, short
    # enough to be back soon after Redis is.
    RECONNECTION = 0.4
    private_constant :RECONNECTION

    # Returns whether it is connected in this process, and every connection to Redis stands.
    # @return [Boolean]
    def connected?
      session = @session
      !session.nil? && session.connected?
    end

    # Disconnects in order: takes no more requests, lets running handlers finish, waits for answers that are still to
    # come, ends open calls and closes. Requests that were not started, or not answered in time, go back to the group.
    #
    # May be called again. Inside a handler it returns at once, and the closing goes on when the handler has finished.
    # In a trap block it returns at once, and the closing goes on in a thread.
    # @param timeout [Numeric] seconds that running handlers and answers are given
    # @return [self]
    # @raise [ArgumentError] if the timeout is no number of seconds, or negative
    def disconnect(timeout: 5)
      timeout = Monotonic.finite(timeout)
      stop_reconnecting(timeout)
      session = @session
      return self unless session

      # A fork's copy of its parent's session is left alone, because the threads and sockets are the parent's.
      session.pid == Process.pid ? session.close(timeout) : session.renounce
      self
    end

    # Returns what was sent, answered, dropped and lost since `connect`, and what is open now. After {#disconnect} it
    # returns the final figures. docs/guarantees.md explains each number.
    # @return [Hash{Symbol => Integer}]
    # @raise [NotConnectedError] if it was never connected in this process
    def stats
      await_reconnection
      (@session || session).stats
    end

    # @return [Boolean] whether it is connected in this process, or will be again when Redis is back
    # @api private
    def open?
      session = @session
      (!session.nil? && session.open?) || reconnecting?
    end

    # @return [Boolean] whether it was never connected, or has been disconnected
    # @api private
    def over?
      session = @session
      session.nil? || session.closed?
    end

    # Connects a forked child as a new instance. A thread does it, so that the fork waits for nothing.
    # @api private
    def reconnect_after_fork
      return if over?

      inherited = @session
      inherited.abandon
      return unless inherited.reconnect_after_fork?

      @lifecycle = Mutex.new
      @reconnecting = Thread.new { reconnect(inherited) }
      ThreadPool.name_thread(@reconnecting, title("reconnect"))
    end

    # Leaves to the parent what is connected, in a child that works for it. The first use connects again.
    # @api private
    def leave_to_parent
      @session.abandon unless over?
    end

    private

    # Connects, or raises if it is connected already.
    def connect_with(settings)
      ThreadLimitError.watch(place) do
        FiberWaker.outside { @lifecycle.synchronize { connect_anew(settings) } }
      end
      self
    end

    def connect_anew(settings)
      replace_automatic_session
      raise ConnectionError.new("#{subject} is connected already", **place) if open?

      open_session(settings)
    end

    # Makes a session the current one, and lets the block start its threads. If that fails (the process may have as many
    # threads as it is allowed to), nothing stays connected.
    def begin_session(session)
      previous = @session
      @session = session
      ProcessHooks.remember(session, self)
      yield session
      started = true
    ensure
      unless started
        @session = previous
        session.close(0)
      end
    end

    def session
      await_reconnection
      session = @session
      return session if session && !session.closed?

      raise NotConnectedError.new("#{subject} #{absence}", outcome: :not_sent, **place)
    end

    # Returns what errors say of one that is not connected. An includer that is not connected by `connect` says
    # something else.
    def absence
      "is not connected: call connect"
    end

    def await_reconnection
      # `Process.daemon` forks without the hook.
      reconnect_after_fork if @session && @session.pid != Process.pid && !reconnecting?
      return if !reconnecting? || @reconnecting == Thread.current

      # This thread releases what a framework shares among threads (Rails: the lock of reloading), because the
      # connecting thread calls `on_error`, which needs it.
      RedisIPC.framework.around_wait { @reconnecting.join }
    end

    # Returns whether a forked child is about to connect again.
    def reconnecting?
      @reconnecting ? @reconnecting.alive? : false
    end

    # Closes the session that was opened automatically after a fork, because the user calls `connect`.
    def replace_automatic_session
      return unless @reconnecting

      stop_reconnecting(0)
      @session.close(0) if open?
      @reconnecting = nil
    end

    def stop_reconnecting(timeout)
      return if @reconnecting.nil? || @reconnecting == Thread.current

      @reconnecting.kill.join unless @reconnecting.join(timeout)
    end

    def reconnect(inherited)
      patience = Patience.new(longest: RECONNECTION)
      begin
        ThreadLimitError.watch(place) { open_session(inherited.settings) }
      rescue RedisIPC::Error => e
        patience.failed([e.message]) { report(e) }
        retry
      end
      ProcessHooks.forget(inherited)
    end
  end
end

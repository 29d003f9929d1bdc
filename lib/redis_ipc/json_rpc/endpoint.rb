# frozen_string_literal: true

module RedisIPC
  module JSONRPC
    # What a server and a client have in common: connecting to a queue, and staying connected.
    class Endpoint
      # @return [String] the name of the list that requests go over
      attr_reader :queue

      # @api private
      def initialize(queue, options)
        @queue = check_queue(queue)
        @logger = Settings.check_logger(options.delete(:logger))
        @options = Settings.with_pem_texts(options).freeze
        @lifecycle = Monitor.new
      end

      # Sets what is told of errors nobody else hears of. It runs in a thread of its own.
      # @yieldparam exception [Exception]
      # @return [self]
      # @raise [ArgumentError] without a block
      def on_error(&block)
        raise ArgumentError, "on_error needs a block" unless block

        @on_error = block
        self
      end

      # Connects. Returns when requests can be sent or taken.
      # @return [self]
      # @raise [ConnectionError] if Redis cannot be reached, or it is connected already
      # @raise [CommandError] if Redis refuses
      # @raise [ArgumentError] if the queue's name could collide with another queue's keys
      def connect
        @lifecycle.synchronize do
          replace_automatic_session
          raise ConnectionError.new("it is connected already", stream: queue) if open?

          open_session
        end
        self
      end

      # @return [Boolean] whether it takes part now: connected in this process, and every connection to Redis stands
      def connected?
        session = @session
        !session.nil? && session.connected?
      end

      # Takes no more requests, lets running methods finish, ends open calls and closes. May be called again, and from
      # inside a method (then it returns at once and the closing goes on when the method has finished), or from a trap
      # block (it returns at once and the closing goes on in a thread).
      # @param timeout [Numeric] seconds that running methods are given
      # @return [self]
      def disconnect(timeout: 5)
        unless timeout.is_a?(Numeric) && timeout.real? && timeout >= 0
          raise ArgumentError, "the timeout must be a number of seconds, at least 0"
        end

        stop_reconnecting(timeout)
        session = @session
        # A fork's copy of its parent's session is left alone: its threads and sockets are the parent's.
        session.close(timeout) if session && session.pid == Process.pid
        self
      end

      # @return [Hash{Symbol => Integer}] what was sent, answered and dropped since `connect`, and what is open now
      # @raise [NotConnectedError]
      def stats
        session.engine.stats
      end

      # @return [String]
      def inspect
        "#<#{self.class} #{queue} #{connected? ? "connected" : "not connected"}>"
      end

      # Connects again in a forked child; in a thread, so that the fork waits for nothing.
      # @api private
      def reconnect_after_fork
        session = @session
        return if session.nil? || session.closed?

        session.abandon
        @lifecycle = Monitor.new
        @reconnecting = Thread.new { reconnect(session) }
        @reconnecting.name = "redis_ipc rpc reconnect #{queue}"
      end

      private

      def session
        await_reconnection
        session = @session
        return session if session && !session.closed?

        raise NotConnectedError.new("it is not connected: call connect", outcome: :not_sent, stream: queue)
      end

      def await_reconnection
        # Process.daemon forks without the hook.
        reconnect_after_fork if @session && @session.pid != Process.pid && !@reconnecting&.alive?
        @reconnecting.join if @reconnecting && @reconnecting != Thread.current
      end

      def open?
        session = @session
        !session.nil? && session.open?
      end

      def open_session
        @session = start_session
        ProcessHooks.remember(@session, self)
        run_session(@session)
      end

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
        open_session
        ProcessHooks.forget(inherited)
      rescue RedisIPC::Error => e
        report(e)
        # Long enough not to be a hot loop, short enough to be back soon after Redis is.
        sleep(0.2 + (rand * 0.2))
        retry
      end

      def check_queue(name)
        unless name.is_a?(Symbol) || name.respond_to?(:to_str)
          raise ArgumentError, "the queue's name must be a String or a Symbol, got a #{name.class}"
        end

        name = (name.is_a?(Symbol) ? name.name : name.to_str).encode(Encoding::UTF_8)
        raise ArgumentError, "the queue's name cannot be blank" if name.strip.empty?

        name.frozen? ? name : name.dup.freeze
      rescue EncodingError
        raise ArgumentError, "the queue's name must be text in UTF-8"
      end

      def report(exception)
        description = "redis_ipc JSON-RPC #{queue}: #{exception.class}: #{exception.message}"
        @logger&.error { description }
        if @on_error
          @on_error.call(exception)
        elsif @logger.nil?
          warn description
        end
      rescue SystemExit, SignalException
        raise
      rescue Exception => e # rubocop:disable Lint/RescueException -- a broken on_error must not stop the server
        warn "redis_ipc JSON-RPC #{queue}: on_error raised #{e.class}: #{e.message}"
      end
    end
  end
end

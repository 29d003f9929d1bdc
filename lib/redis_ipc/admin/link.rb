# frozen_string_literal: true

module RedisIPC
  class Admin
    # The connections of an {Admin} to Redis: one to each node, opened by the first query. A forked child opens its own.
    # @api private
    class Link
      # One period in one process. It has no threads in Ruby.
      class Session < EngineSession
        def initialize(core, callables)
          super("observer", callables, workers: nil, others: []) { |logins| Native::Observer.start(core, logins) }
        end
      end
      private_constant :Session

      # @return [Hash] the option `redis_options`
      attr_reader :redis_options

      # @param redis_options [Hash]
      # @param name [String] how the connections are named
      # @raise [ConfigurationError]
      def initialize(redis_options, name)
        @redis_options = redis_options
        @core, @callables = Settings.for_core(redis_options: redis_options, name: name)
        @mutex = Mutex.new
        @session = open
      end

      # @param queries [Array<Array>]
      # @return [Array<Object, Exception>] the answers; a refusal is the exception
      def read(queries)
        queries.empty? ? [] : call(:read, queries)
      end

      # @return [Object] what the observer of the core returns
      # @raise [CallError] if Redis cannot be reached or refuses
      def call(name, *arguments)
        FiberWaker.outside { engine.public_send(name, *arguments) }
      end

      # @return [String] the address of Redis, without credentials
      def address
        engine.address
      end

      # @return [Float] Redis's time in seconds since 1970
      def now
        call(:now_ms) / 1_000.0
      end

      # Closes it for good.
      def close
        @closed = true
        disconnect
      end

      # Closes the connections. The next query opens others.
      def disconnect(timeout: 1)
        session = @session
        @session = nil
        session&.close(timeout)
      end

      # Lets a forked child open connections of its own.
      def reconnect_after_fork
        return unless @session

        @session.abandon
        ProcessHooks.forget(@session)
        @mutex = Mutex.new
        @session = nil
      end
      alias leave_to_parent reconnect_after_fork

      private

      def engine
        raise NotConnectedError, "this RedisIPC::Admin was closed" if @closed

        (@session || @mutex.synchronize { @session ||= open }).engine
      end

      def open
        session = ThreadLimitError.watch({}) { Session.new(@core, @callables) }
        ProcessHooks.remember(session, self)
        session
      end
    end
    private_constant :Link
  end
end

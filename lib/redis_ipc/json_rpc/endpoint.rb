# frozen_string_literal: true

module RedisIPC
  module JSONRPC
    # The base class of {Server} and {Client}: connects to a queue, and stays connected.
    class Endpoint
      include Lifecycle

      # @return [String] the name of the list that requests go on
      attr_reader :queue

      # @api private
      def initialize(queue, options)
        @queue = Names.check("the queue's name", queue)
        @logger = Settings.check_logger(options.delete(:logger))
        @given = options
        read_options
        @lifecycle = Mutex.new
      end

      # Sets the block that is told of errors that no caller hears of. It runs in a thread of its own.
      # @yieldparam exception [Exception] what happened
      # @return [self]
      # @raise [ArgumentError] without a block
      def on_error(&block)
        raise ArgumentError, "on_error needs a block" unless block

        @on_error = block
        self
      end

      # Connects to Redis. Returns when requests can be sent or taken.
      # @return [self]
      # @raise [ConnectionError] if Redis cannot be reached, or it is connected already
      # @raise [CommandError] if Redis refuses
      # @raise [ThreadLimitError] if a thread cannot be started; nothing stays connected
      # @raise [ArgumentError] if the queue's name could collide with another queue's keys
      def connect
        connect_with(true)
      end

      # @return [String]
      def inspect
        "#<#{self.class} #{queue} #{connected? ? "connected" : "not connected"}>"
      end

      private

      def read_options
        defaults = { redis_options: RedisIPC.configuration.redis_options }
        @options, @callables = Settings.for_core(defaults.merge(@given))
      end

      # Reads the options again, because the defaults of the process may have been set since `new`. Given options are
      # not read again, because the process may have changed its directory; nor are any in a forked child, which has no
      # settings (see Session#settings).
      def open_session(connects)
        read_options if connects && !@given.key?(:redis_options)
        begin_session(start_session) { |session| run_session(session) }
      end

      def place
        { stream: queue }
      end

      def subject
        "it"
      end

      def title(what)
        "rpc #{what} #{queue}"
      end

      def report(exception, request = nil)
        about = "#{LogText.of(request[:method])}, request #{LogText.of(request[:id].inspect)}" if request
        ErrorReport.tell("JSON-RPC #{queue}", exception, about: about, logger: @logger, on_error: @on_error) do
          publish(exception, request)
        end
      end

      def publish(exception, request)
        payload = { queue: queue, method: request && request[:method], id: request && request[:id], error: exception }
        Instrumentation.publish(:dead_letter, payload) if exception.is_a?(DeadLetteredError)
        Instrumentation.publish(:error, payload)
      end

      def reconnected(outage)
        Instrumentation.publish(:reconnect, { queue: queue, duration: outage })
      end
    end
  end
end

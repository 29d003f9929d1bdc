# frozen_string_literal: true

module RedisIPC
  module JSONRPC
    # One connected period of a server or a client in one process.
    # @api private
    class Session < EngineSession
      # @param queue [String] for the names of threads
      # @param callables [Hash{Symbol => #call}] what is called at each login
      # @param serves [Boolean] whether it runs methods
      # @yieldparam logins [Native::Logins, nil] (see EngineSession#initialize)
      # @yieldreturn [Native::ListServer, Native::ListClient]
      def initialize(queue, callables, serves:, &start)
        @queue = queue
        @not_begun = []
        workers = ThreadPool.new("rpc worker", queue, serves: [queue]) { serve_one } if serves
        @reporter = ThreadPool.new("rpc reporter", queue) { tell_one }
        super(queue, callables, workers: workers, others: [@reporter], &start)
      end

      # A server or a client keeps its options itself.
      def settings; end

      def reconnect_after_fork?
        true
      end

      # Sends a text and waits for the answer to its `count` requests from id `first` on; with none, until Redis has it.
      # @return [Object, nil] nil if there were none
      def call(first, count, text, timeout)
        return NestedCalls.watch(@queue) { @engine.call(first, count, text, timeout) } unless FiberWaker.needed?

        fiber_waits.answer(@engine.call_async(first, count, text, timeout))
      end

      # @param workers [Integer] how many threads run methods
      # @param report [#call] tells the user of an error
      # @param reconnected [#call] is told of the seconds of an outage that is over
      # @param serve [Proc] runs one request
      # @return [self]
      def run(report:, reconnected:, workers: 0, &serve)
        @report = report
        @reconnected = reconnected
        @serve = serve
        @workers&.start(workers)
        @reporter.start(1)
        self
      end

      private

      def serve_one
        request = @not_begun.shift || @engine.take
        return false unless request

        begun = true
        @serve.call(request)
        !abandoned?
      ensure
        # Killed in between: the thread that takes its place serves it, for nobody else would.
        @not_begun.push(request) if request && !begun
      end

      def tell_one
        report = @engine.next_report
        (report.is_a?(Float) ? @reconnected : @report).call(report) if report
        !report.nil?
      end
    end
  end
end

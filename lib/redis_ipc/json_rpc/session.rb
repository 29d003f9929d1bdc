# frozen_string_literal: true

module RedisIPC
  module JSONRPC
    # A session is one connected period of a server or a client in one process.
    # @api private
    class Session < EngineSession
      # @param queue [String] for the names of threads
      # @param callables [Hash{Symbol => #call}] the callables that give a user name or a password at each login
      # @param serves [Boolean] whether it runs methods
      # @yieldparam logins [Native::Logins, nil] (see EngineSession#initialize)
      # @yieldreturn [Native::ListServer, Native::ListClient]
      def initialize(queue, callables, serves:, &start)
        @queue = queue
        workers = ThreadPool.new("rpc worker", queue, serves: [queue]) { serve_one } if serves
        @reporter = ThreadPool.new("rpc reporter", queue) { tell_one }
        super(queue, callables, workers: workers, others: [@reporter], labels: { kind: "json_rpc", stream: queue },
                                &start)
      end

      # A server or a client keeps its options itself.
      def settings; end

      def reconnect_after_fork?
        true
      end

      # Sends a text and waits for the answer to its `count` requests from id `first` on, or with none until Redis has
      # it.
      # @return [Object, nil] nil without requests that are answered
      def call(first, count, text, timeout)
        return NestedCalls.watch(@queue) { @engine.call(first, count, text, timeout) } unless FiberWaker.needed?

        fiber_waits.answer(@engine.call_async(first, count, text, timeout))
      end

      # @param workers [Integer] how many threads run methods
      # @param report [#call] reports an error to the user
      # @param reconnected [#call] is called with the seconds of an outage that is over
      # @param overrun [#call] tells the user of a request whose method outlasts its deadline, where it is, and for
      #   how many seconds it has run
      # @param serve [Proc] runs one request
      # @return [self]
      def run(report:, reconnected:, overrun: nil, workers: 0, &serve)
        @overrun = overrun
        @report = report
        @reconnected = reconnected
        @serve = serve
        @workers&.start(workers)
        @reporter.start(1)
        self
      end

      # @return [Hash{Symbol => Integer}] the counters; of a server also how many threads run methods and are doing so
      def stats
        @workers ? super.merge(handlers: handlers, busy_handlers: running.size) : super
      end

      private

      def serve_one
        !serve_next(&:itself).nil? && !abandoned?
      end

      def pass_on(report)
        case report.kind
        when :slow then look(report.id) { |running, frame| running.subject.note_frame(frame) }
        when :overrun then look(report.id) { |running, frame| @overrun.call(running.subject, frame, running.age) }
        else super
        end
      end

      # Yields a method that runs and where it is, unless it has just ended.
      def look(number)
        one = running.to_a.find { |it| it.subject.number == number }
        yield one, ApplicationFrame.of(one.thread.backtrace || []) if one
      end
    end
  end
end

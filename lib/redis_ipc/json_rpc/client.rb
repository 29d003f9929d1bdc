# frozen_string_literal: true

module RedisIPC
  module JSONRPC
    # A client calls methods that any JSON-RPC 2.0 server on a Redis list serves. Any number of threads may use it.
    #
    # @example
    #   client = RedisIPC::JSONRPC::Client.new("calculator").connect
    #   client.call("subtract", 42, 23, timeout: 2)      #=> 19
    #   client.proxy.subtract(minuend: 42, subtrahend: 23) #=> 19
    #   client.disconnect
    class Client < Endpoint
      # Seven days in seconds, as for the option.
      MAX_TIMEOUT = 604_800
      private_constant :MAX_TIMEOUT

      # Makes a client that is not connected yet. Times are in seconds, sizes in bytes.
      # @param queue [String, Symbol] the name of the list that requests go on
      # @param options [Hash] `redis_options: {}` (as for {Stream#connect}), `timeout: 5` (of a call that names none),
      #   `max_size: 16 MiB` (of a request or an answer), `max_batch: 1000`, `logger: nil`
      # @raise [ConfigurationError] if an option is unknown or of the wrong type
      # @raise [ArgumentError] if the queue's name is blank or neither a String nor a Symbol
      def initialize(queue, **options)
        super(queue, options)
        @max_batch = Native::ListClient.check_options(@options)
        @around_call = Middleware.new
        @call_pipeline = CallPipeline.new(self.queue, @around_call)
      end

      # Adds middleware that surrounds this client's calls, notifications and batches, inside of {JSONRPC.around_call}.
      # @param (see JSONRPC.around_call)
      # @yieldparam (see JSONRPC.around_call)
      # @return [self]
      def around_call(link = nil, &block)
        @around_call.add(link, &block)
        self
      end

      # Calls a method and waits for its result. Blocks only the calling thread.
      # @param method [String, Symbol] the method's name
      # @param params [Array] parameters by position
      # @param timeout [Numeric, nil] seconds until the deadline; nil means the client's `timeout`
      # @param named [Hash] parameters by name
      # @return [Object] the result; Hash keys are Symbols
      # @raise [Error] if the server answered with an error
      # @raise [TimeoutError] if there is no answer at the deadline; its `outcome` says whether the method can have run
      # @raise [ConnectionError] if Redis cannot be reached or the client is not connected
      # @raise [ContentError] if the parameters cannot be sent
      # @raise [MalformedEntryError] if the answer cannot be read
      # @raise [ArgumentError] with both kinds of parameters, or if the timeout is not over 0 and at most seven days
      def call(method, *params, timeout: nil, **named)
        request(method, Request.params(params, named), timeout: timeout)
      end

      # Calls a method as {#call} does, with parameters that {#call} would take for its own (`timeout`), or whose names
      # are no Symbols.
      # @param method [String, Symbol] the method's name
      # @param params [Array, Hash, nil] by position, by name, or none
      # @param timeout [Numeric, nil] seconds until the deadline; nil means the client's `timeout`
      # @return (see #call)
      # @raise (see #call)
      def request(method, params = nil, timeout: nil)
        timeout = check_timeout(timeout)
        request = Request.build(method, params)
        @call_pipeline.run(request, timeout) do |seconds|
          value_of(send_request(session, request, check_timeout(seconds)))
        end
      end

      # Sends a notification: calls a method without a result. Returns once Redis has the request.
      # @param method [String, Symbol] the method's name
      # @param params [Array] parameters by position
      # @param timeout [Numeric, nil] seconds that Redis is given; nil means the client's `timeout`
      # @param named [Hash] parameters by name
      # @return [true]
      # @raise [ConnectionError] if Redis cannot be reached or the client is not connected
      # @raise [ContentError] if the parameters cannot be sent
      def notify(method, *params, timeout: nil, **named)
        timeout = check_timeout(timeout)
        request = Request.build(method, Request.params(params, named))
        @call_pipeline.run(request, timeout) { |seconds| push(session, request, check_timeout(seconds)) }
      end

      # Sends several requests as one, and waits for all results.
      # @param timeout [Numeric, nil] seconds until the deadline; a shorter one of a call in the batch counts instead
      # @yieldparam batch [Batch] collects the requests
      # @return [Array<Object, Error>] for each {Batch#call} in turn its result, or the {Error} it was answered with
      # @raise [Error] if the server refused the whole batch
      # @raise (see #call)
      # @example
      #   sum, error = client.batch do |batch|
      #     batch.call("sum", 1, 2)
      #     batch.call("no_such_method")
      #   end
      def batch(timeout: nil)
        timeout = check_timeout(timeout)
        batch = Batch.new
        yield batch
        check_size(batch.requests.size)
        timeout = [timeout, *batch.timeouts.map { |seconds| check_timeout(seconds) }].compact.min
        return [] if batch.requests.empty?

        @call_pipeline.run(batch.requests, timeout) { |seconds| run_batch(session, batch, check_timeout(seconds)) }
      end

      # Makes an object whose methods are the server's.
      # @param timeout [Numeric, nil] seconds for each call; nil means the client's `timeout`
      # @return [Proxy]
      def proxy(timeout: nil)
        Proxy.new(self, check_timeout(timeout))
      end

      private

      def start_session
        Session.new(queue, @callables, serves: false) { |logins| Native::ListClient.start(queue, @options, logins) }
      end

      def run_session(session)
        session.run(report: method(:report), reconnected: method(:reconnected))
      end

      def envelope(engine, timeout)
        { reply_to: engine.reply_to, deadline: engine.deadline(timeout) }
      end

      def send_request(session, request, timeout)
        id = session.engine.reserve(1)
        request.merge!(id: id, **envelope(session.engine, timeout))
        wait(session, id, 1, request, timeout)
      end

      def push(session, requests, timeout)
        wait(session, 0, 0, requests, timeout)
        true
      end

      def run_batch(session, batch, timeout)
        return push(session, batch.requests, timeout) && [] if batch.calls.empty?

        results_of(send_batch(session, batch, timeout), batch.calls)
      end

      # Sends a batch. Its first request with an id carries the reply list and the deadline, as a batch has no members.
      def send_batch(session, batch, timeout)
        first = session.engine.reserve(batch.calls.size)
        batch.calls.each.with_index(first) { |request, id| request[:id] = id }
        batch.calls.first.merge!(envelope(session.engine, timeout))
        wait(session, first, batch.calls.size, batch.requests, timeout)
      end

      def wait(session, first, count, requests, timeout)
        text = Native.dump(requests)
        RedisIPC.framework.around_wait { session.call(first, count, text, timeout) }
      end

      def results_of(answers, calls)
        value_of(answers) && malformed(answers) unless answers.is_a?(Array)

        by_id = answers.to_h { |answer| [answer.is_a?(Hash) ? answer[:id] : nil, answer] }
        calls.map do |request|
          by_id.key?(request[:id]) ? value_of(by_id[request[:id]]) : unanswered
        rescue Error => e
          e
        end
      end

      def unanswered
        Error.new("the server did not answer this request of the batch",
                  code: INTERNAL_ERROR, received: true, stream: queue)
      end

      def value_of(answer)
        malformed(answer) unless answer.is_a?(Hash)
        error = answer[:error]
        return answer.fetch(:result) { malformed(answer) } if error.nil?

        code, message = error.values_at(:code, :message) if error.is_a?(Hash)
        malformed(answer) unless code.is_a?(Integer) && message.is_a?(String)
        raise Error.new(message, code: code, data: error[:data], received: true, stream: queue)
      end

      def malformed(answer)
        raise MalformedEntryError.new("the answer is no JSON-RPC 2.0 answer: #{answer.inspect[0, 200]}", stream: queue)
      end

      def check_size(size)
        return if size <= @max_batch

        raise ArgumentError, "a batch of #{size} requests is over the limit of #{@max_batch} (max_batch)"
      end

      def check_timeout(timeout)
        Monotonic.positive(timeout, most: MAX_TIMEOUT)
      end
    end
  end
end

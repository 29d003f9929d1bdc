# frozen_string_literal: true

module RedisIPC
  module JSONRPC
    # Runs the methods that JSON-RPC requests name. It knows no transport.
    # @api private
    class Procedures
      Procedure = Struct.new(:callable, :signature)
      private_constant :Procedure

      MESSAGES = {
        PARSE_ERROR => "Parse error", INVALID_REQUEST => "Invalid Request", METHOD_NOT_FOUND => "Method not found",
        INVALID_PARAMS => "Invalid params", INTERNAL_ERROR => "Internal error"
      }.freeze
      # To compare a longer name with all others takes too long.
      LONGEST_NAME = 100
      private_constant :MESSAGES, :LONGEST_NAME

      # @return [Integer] the most requests in a batch
      attr_reader :max_batch
      # @return [Integer] the most bytes of results in an answer
      attr_reader :max_answer_size

      # @param queue [String]
      # @param max_batch [Integer]
      # @param max_answer_size [Integer]
      # @yieldparam exception [Exception] an exception of a method that its caller is not told of
      # @yieldparam request [Hash] the request of that method
      def initialize(queue, max_batch:, max_answer_size:, &report)
        @queue = queue
        @max_batch = max_batch
        @max_answer_size = max_answer_size
        @report = report
        @procedures = {}
        @mapped = {}
      end

      # @param name [String]
      # @param callable [Proc, Method]
      def add(name, callable)
        @procedures[name] = Procedure.new(callable, Signature.of(callable)).freeze
      end

      # @param exception_class [Class]
      # @yieldparam exception [Exception]
      # @yieldreturn [Error]
      def map(exception_class, &mapping)
        @mapped[exception_class] = mapping
      end

      # @param message [Object] a request or a batch, with Symbols for keys
      # @param expired [#call, nil] returns before each request whether it is too late to start it
      # @yieldparam request [Hash] a request whose method is about to run
      # @yieldparam encode [#call] makes an answer of the method's result
      # @yieldparam method [Proc] runs the method: the block has to call it
      # @yieldreturn [String, nil] the result of `encode`
      # @return [String, nil] the answer's JSON; nil if there is nothing to answer
      def answer(message, expired: nil, &around)
        room = AnswerRoom.new(max_answer_size)
        each_request(message) do |request|
          obstacle = obstacle(request, room, expired)
          obstacle ? not_started(request, obstacle) : room.take(run(request, around, room))
        end
      end

      # Answers without running anything.
      # @param message [Object] a request or a batch
      # @param error [Error]
      # @return (see #answer)
      def refuse(message, error)
        each_request(message) { |request| failure(request, error) unless notification?(request) }
      end

      # @param code [Integer] one of the codes that JSON-RPC defines
      # @param data [Object, nil]
      # @param id [Object] an object that is no id becomes null
      # @return [String] the answer's JSON
      def error(code, data: nil, id: nil)
        failure({ id: id }, Error.new(MESSAGES.fetch(code), code: code, data: data))
      end

      private

      def each_request(message, &run)
        return run.call(message) unless message.is_a?(Array)
        return error(INVALID_REQUEST) if message.empty?
        return refuse_batch(message) if message.size > max_batch

        answers = message.filter_map(&run)
        "[#{answers.join(",")}]" unless answers.empty?
      end

      # Refuses a batch with one of its ids, because the caller could not assign an answer whose id is null.
      def refuse_batch(batch)
        data = "the batch has #{batch.size} requests, at most #{max_batch} are allowed"
        error(INVALID_REQUEST, data: data, id: batch.lazy.filter_map { |request| id_of(request) }.first)
      end

      # Returns why a request of a batch is not started: nobody would get its answer. A notification has no answer that
      # could be too large.
      def obstacle(request, room, expired)
        return "the deadline had passed" if expired&.call

        full = "the answers before it have more than #{max_answer_size} bytes together (max_answer_size)"
        full if room.exceeded? && !notification?(request)
      end

      def not_started(request, why)
        failure(request, Error.new("Not started", code: NOT_STARTED, data: why)) unless notification?(request)
      end

      def run(request, around, room)
        return error(INVALID_REQUEST, id: id_of(request)) unless request?(request)

        text = perform(request, around, room)
        text unless notification?(request)
      end

      def perform(request, around, room)
        id = id_of(request)
        procedure = @procedures[request[:method]]
        return error(METHOD_NOT_FOUND, data: likely(request[:method]), id: id) unless procedure

        arguments, named = procedure.signature.bind(request[:params])
        encode = ->(result) { success(request, result, room) unless notification?(request) }
        around.call(request, encode) { procedure.callable.call(*arguments, **named) }
      rescue Signature::Mismatch => e
        error(INVALID_PARAMS, data: e.message, id: id)
      rescue SystemExit, SignalException
        raise
      rescue Exception => e # rubocop:disable Lint/RescueException -- the caller is told of any exception
        failed(request, e, (room unless notification?(request)))
      end

      # @return [String, nil] a hint at the method that was most likely meant
      def likely(name)
        return unless name.size <= LONGEST_NAME && defined?(DidYouMean::SpellChecker)

        meant = DidYouMean::SpellChecker.new(dictionary: @procedures.keys).correct(name).first
        meant && "did you mean #{meant.inspect}?"
      end

      # Answers with the error of a failed method. The caller of an unexpected one learns nothing of it: it may hold
      # secrets, and so may an error that another server answered.
      def failed(request, exception, room)
        known = exception.is_a?(Error) && !exception.received? ? exception : mapped(request, exception)
        return failure(request, known, room) if known

        @report.call(exception, request)
        error(INTERNAL_ERROR, id: id_of(request))
      end

      def mapped(request, exception)
        exception_class = exception.class.ancestors.find { |ancestor| @mapped.key?(ancestor) }
        @mapped[exception_class].call(exception) if exception_class
      rescue SystemExit, SignalException
        raise
      rescue Exception => e # rubocop:disable Lint/RescueException -- a broken mapping must not stop the server
        @report.call(e, request)
        nil
      end

      def success(request, result, room)
        encoded({ jsonrpc: "2.0", result: result, id: id_of(request) }, request, room)
      end

      def encoded(answer, request, room)
        return Native.dump(answer) unless room

        Native.dump_within(answer, room.left) || too_large(request, room)
      end

      # Refuses a huge result: the answers of all threads go out over one connection, and those behind it would wait.
      def too_large(request, room)
        room.exceed
        why = "the answer has over #{room.left} bytes, the limit is #{max_answer_size} (max_answer_size)"
        @report.call(ContentError.new(why, stream: @queue), request)
        error(INTERNAL_ERROR, data: why, id: id_of(request))
      end

      def failure(request, error, room = nil)
        id = id_of(request)
        encoded({ jsonrpc: "2.0", error: error.to_h, id: id }, request, room)
      rescue StandardError => e
        @report.call(e, request)
        internal_error(id)
      end

      # JSON can hold this, unless the id comes from a message that was no JSON.
      def internal_error(id)
        answer = { jsonrpc: "2.0", error: { code: INTERNAL_ERROR, message: MESSAGES.fetch(INTERNAL_ERROR) } }
        Native.dump({ **answer, id: id })
      rescue ContentError
        Native.dump({ **answer, id: nil })
      end

      def request?(request)
        request.is_a?(Hash) && request[:jsonrpc] == "2.0" && request[:method].is_a?(String) &&
          params?(request) && (notification?(request) || id?(request[:id]))
      end

      def params?(request)
        !request.key?(:params) || request[:params].is_a?(Array) || request[:params].is_a?(Hash)
      end

      def id?(id)
        id.nil? || id.is_a?(String) || id.is_a?(Integer) || (id.is_a?(Float) && id.finite?)
      end

      def id_of(request)
        id = request[:id] if request.is_a?(Hash)
        id if id?(id)
      end

      # Returns whether no answer is wanted. A message that is no request is answered, because it has no id to tell.
      def notification?(request)
        request.is_a?(Hash) && !request.key?(:id)
      end
    end
  end
end

# frozen_string_literal: true

module RedisIPC
  module Testing
    # Stands in for the core, for one JSON-RPC client or server, and for its session.
    # @api private
    class ListEngine
      # Has the methods of the core's requests.
      Request = Struct.new(:text, :answer, :answered) do
        alias_method :answered?, :answered

        def size
          text.bytesize
        end

        def load(start)
          Native.load(text.byteslice(start..))
        end

        def skim(start)
          request = [*load(start)].first
          request.is_a?(Hash) ? request.values_at(:id, :reply_to) : [nil, nil]
        rescue ContentError
          [nil, nil]
        end

        def given_up?
          false
        end

        def note_deadline(_deadline); end
      end
      private_constant :Request

      @last_id = 0
      @lock = Mutex.new

      # Returns the first of `count` new ids.
      def self.reserve(count)
        @lock.synchronize { (@last_id += count) - count + 1 }
      end

      def initialize(queue)
        @queue = queue
      end

      def engine
        self
      end

      def reserve(count)
        self.class.reserve(count)
      end

      def reply_to
        "#{@queue}:reply:of-a-test"
      end

      def deadline(timeout)
        now = Process.clock_gettime(Process::CLOCK_REALTIME, :millisecond)
        now + ((timeout || Engine::DEFAULT_TIMEOUT) * 1000).to_i
      end

      def call(_first, count, text, timeout)
        content = Native.load(text)
        requests = content.is_a?(Array) ? content : [content]
        calls = requests.map { |request| MethodCall.new(queue: @queue, content: request, timeout: timeout) }
        calls.each { |call| Testing.record(call) }
        server = Receivers.server(@queue) if Testing.mode == :inline
        answer = server ? run(server, text, count) : fake(calls, content)
        answer && Native.load(answer)
      end

      def expired?(_deadline)
        false
      end
      alias past? expired?

      def reply?(_key)
        true
      end

      def finish(request, _reply_to, answer, _deadline)
        request.answer = answer
        request.answered = true
      end

      def stats
        {}
      end

      private

      def run(server, text, count)
        request = Request.new(text)
        server.serve_inline(self, request)
        request.answer || (raise timed_out(:unknown) if count.positive?)
      end

      def fake(calls, content)
        answers = calls.map { |call| answer_to(call) }.zip(calls).filter_map { |answer, call| answer if call.id }
        Native.dump(content.is_a?(Array) ? answers : answers.first) unless answers.empty?
      end

      def answer_to(call)
        status, value, = answer_of_test(call)
        if status == :timed_out
          # Nobody waits for the end of a notification.
          return if call.id.nil?

          raise timed_out(value)
        end

        ended = status == :fulfilled ? { result: value } : { error: error_object(value) }
        { jsonrpc: "2.0", id: call.id, **ended }
      end

      # Returns the test's answer. As with a server, the caller learns nothing of an unexpected exception.
      def answer_of_test(call)
        Testing.answer_to(call) { Testing.mode == :inline ? %i[timed_out unclaimed] : [:fulfilled, nil] }
      rescue JSONRPC::Error => e
        [:rejected, e]
      rescue StandardError
        [:rejected, JSONRPC::Error.new("Internal error", code: JSONRPC::INTERNAL_ERROR)]
      end

      def error_object(reason)
        (reason.is_a?(JSONRPC::Error) ? reason : JSONRPC::Error.new(reason.to_s)).to_h
      end

      def timed_out(outcome)
        TimeoutError.new("no answer on #{@queue.inspect} in this test (RedisIPC::Testing)",
                         outcome: outcome, stream: @queue)
      end
    end
  end
end

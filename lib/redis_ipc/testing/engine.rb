# frozen_string_literal: true

module RedisIPC
  module Testing
    # Stands in for the core, for one stream.
    # @api private
    class Engine
      # Has the methods of the core's answers.
      Answer = Response.const_get(:Loaded)

      # Has the methods of the core's requests.
      Request = Struct.new(:id, :redis_id, :instance_id, :content, :source_group, :destination_group, :deadline_ms,
                           :traceparent, :correlation_id, :answer, :given_up, keyword_init: true) do
        # Returns "dropped" for an answer that came too late.
        def answered
          return if answer.nil?

          given_up ? "dropped" : answer.status
        end

        def since_ms
          redis_id.to_i
        end

        def deliveries
          1
        end

        def redelivered?
          false
        end
      end

      # Has the methods of the core's calls, and has ended already.
      Settled = Struct.new(:id, :result) do
        def ended?
          true
        end

        def wait(_seconds)
          true
        end

        def watch
          false
        end

        def answer
          result.is_a?(Exception) ? raise(result) : result
        end
      end

      DEFAULT_TIMEOUT = 5
      INSTANCE = "testing"
      # The figures of the core. Nothing is counted in a test: {Testing.calls} has the calls.
      STATS = %i[
        requests fulfilled rejected timed_out failed cancelled overloaded resent answers_unmatched taken redelivered
        answers_sent answers_dropped expired unanswered shed released withdrawn dead_lettered malformed reconnections
        reports_dropped open_calls held_requests paused
      ].to_h { |name| [name, 0] }.freeze

      def initialize(stream)
        @stream = stream
      end

      def ask(to, content, timeout, context = nil)
        content = through_json(content)
        call = Call.new(stream: @stream.stream_name, from: @stream.group_name, to: to, content: content,
                        timeout: timeout)
        Testing.record(call)
        Testing.mode == :inline ? run(call, context) : fake(call)
      end

      def ask_async(...)
        Settled.new(SecureRandom.hex(16), ask(...))
      rescue CallError => e
        Settled.new(e.entry_id, e)
      end

      def fulfill(request, content)
        settle(request, "fulfilled", content, nil)
      end

      def reject(request, content, error)
        settle(request, "rejected", content, error)
      end

      alias reject_because reject

      # Returns whether the handler has returned without an answer: time does not pass in a test, but the asker has gone
      # on.
      def expired?(request)
        !!request.given_up
      end

      def now_ms
        Process.clock_gettime(Process::CLOCK_REALTIME, :millisecond)
      end

      def instance_id
        INSTANCE
      end

      def redis
        "no Redis"
      end

      def consumers
        1
      end

      def stats
        STATS
      end

      def instances
        []
      end

      def dead_letters(_group, _after, _count)
        []
      end

      def count_dead_letters(_group)
        0
      end

      # Tells `on_error` of an error.
      def report(exception)
        @stream.report_inline(exception)
      end

      # Runs the handler of this engine's stream, in this thread.
      def serve(request)
        CurrentAttributes.apart { @stream.serve_inline(Entry.new(request, self)) }
        request.given_up = request.answer.nil?
      end

      private

      def through_json(object)
        Native.load(Native.dump(object))
      end

      def fake(call, otherwise = [:fulfilled, nil])
        status, content, error = answer_of_test(call, otherwise)
        id = SecureRandom.hex(16)
        return raise(timed_out(call, id, content)) if status == :timed_out

        build_answer(request_of(call, id), status.to_s, content, error)
      end

      def answer_of_test(call, otherwise)
        Testing.answer_to(call) { otherwise }
      rescue StandardError => e
        [:rejected, ErrorText.of(e), ErrorText.class_name(e)]
      end

      # @param context [Native::Context, nil]
      def run(call, context)
        receiver = Receivers.stream(call.stream, call.to)
        return fake(call, %i[timed_out unclaimed]) if receiver.nil?

        request = request_of(call, SecureRandom.hex(16), context)
        Engine.new(receiver).serve(request)
        request.answer || raise(timed_out(call, request.id, :unknown))
      end

      def request_of(call, id, context = nil)
        now = now_ms
        timeout = ((call.timeout || DEFAULT_TIMEOUT) * 1000).to_i
        Request.new(id: id, redis_id: "#{now}-0", instance_id: INSTANCE, content: call.content,
                    source_group: call.from, destination_group: call.to, deadline_ms: now + timeout,
                    traceparent: context&.traceparent, correlation_id: context&.correlation_id)
      end

      def settle(request, status, content, error)
        raise AlreadyAnsweredError.new("the request was answered before", entry_id: request.id) if request.answer

        request.answer = build_answer(request, status, content, error)
        !request.given_up
      end

      def build_answer(request, status, content, error)
        Answer.new(status: status, content: through_json(content), error: error, id: request.id,
                   redis_id: "#{now_ms}-0", instance_id: INSTANCE, source_group: request.destination_group,
                   destination_group: request.source_group)
      end

      def timed_out(call, id, outcome)
        message = "no answer from #{call.to.inspect} in this test (RedisIPC::Testing)"
        TimeoutError.new(message, outcome: outcome, stream: call.stream, group: call.to, entry_id: id)
      end
    end
  end
end

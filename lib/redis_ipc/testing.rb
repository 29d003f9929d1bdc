# frozen_string_literal: true

require "securerandom"
require_relative "../redis_ipc"
require_relative "testing/call"
require_relative "testing/current_attributes"
require_relative "testing/method_call"
require_relative "testing/receivers"
require_relative "testing/engine"
require_relative "testing/list_engine"
require_relative "testing/published_event"
require_relative "testing/delivered_event"
require_relative "testing/progress"
require_relative "testing/event_engine"
require_relative "testing/live_entries"
require_relative "testing/wal_entries"
require_relative "testing/forwarded_entries"
require_relative "testing/inline_delivery"
require_relative "testing/events"
require_relative "testing/losses"
require_relative "testing/doubles"
require_relative "testing/event_doubles"
require_relative "testing/registrations"

module RedisIPC
  # Replaces Redis in the tests of applications: no server is needed, and nothing is sent.
  #
  # * `fake!` records calls. Calls that the test does not {answer} are fulfilled with nil.
  # * `inline!` records them too, and runs the receiving channel (or connected stream) at once, in the same thread. What
  #   is sent and answered goes through the same JSON as over Redis. For groups that nobody in this process serves,
  #   those of other applications, the test may {answer}.
  # * `disable!` makes calls real again.
  #
  # Calls of a {JSONRPC::Client} are recorded too, as {MethodCall}s: the method is the event, and the queue is the group
  # asked. In inline mode a {JSONRPC::Server} of this process answers, once it is connected.
  #
  # Events that are published are recorded too ({published}), and in inline mode the consumers of their stream handle
  # them at once. In every mode {deliver_event} runs a consumer, and {lose_events} tells it of a loss.
  #
  # With a block, a mode ends with the block. `redis_ipc/rspec` and `redis_ipc/minitest` {begin!} each test in fake
  # mode, and {end!} it.
  #
  # @example
  #   RedisIPC::Testing.fake!
  #   RedisIPC::Testing.answer("cook", on: "kitchen") { |params| "#{params[:dish]}, coming up" }
  #   LivingRoom.trigger_event("cook", target: "kitchen", params: { dish: "pasta" }).value #=> "pasta, coming up"
  #   RedisIPC::Testing.calls.last.params #=> { dish: "pasta" }
  module Testing
    @mode = nil
    @lock = Monitor.new

    class << self
      include EventMethods
      include Losses

      # @return [Symbol, nil] `:fake`, `:inline`, or nil when calls are real
      attr_reader :mode

      # Records calls and lets the test answer them.
      # @yield in this mode; the one before is restored after it
      # @return [Object, nil] what the block returned
      def fake!(&block)
        switch(:fake, &block)
      end

      # Runs the receiving channel at once.
      # @yield (see fake!)
      # @return (see fake!)
      def inline!(&block)
        switch(:inline, &block)
      end

      # Makes calls real.
      # @yield (see fake!)
      # @return (see fake!)
      def disable!(&block)
        switch(nil, &block)
      end

      # @return [Boolean] whether a mode is on, so that no call is real
      def enabled?
        !mode.nil?
      end

      # Begins a test: forgets calls, answers and connections of tests. It notes the present registrations, to which
      # {reset!} and {end!} go back: subscribers ({RedisIPC.subscribe}), middleware (`around_request` and
      # `around_handler`, of channels too) and the `on_error` of channels.
      # @return [nil]
      def begin!
        forget
        @registered = Registrations.new
        nil
      end

      # Ends a test: does {reset!}. Later registrations stay.
      # @return [nil]
      def end!
        reset!
        @registered&.retire_newcomers
        @registered = nil
      end

      # Forgets calls, answers and connections of tests, and in a test (between {begin!} and {end!}) what it has
      # registered. The mode stays.
      # @return [nil]
      def reset!
        forget
        @registered&.restore
        nil
      end

      # Returns the calls that were made since the last {reset!}, the oldest first.
      # @return [Array<Call>]
      def calls
        @lock.synchronize { @calls.dup }
      end

      # Answers calls from now on: in fake mode, and in inline mode to groups that nobody in this process serves. The
      # last answer that was set counts. The block returns the value. If it raises, the call is rejected with class and
      # message, as by a handler (of JSON-RPC, as by a server).
      # @param event [String, Symbol, nil] nil answers every call to the group
      # @param on [String, Symbol] the group asked
      # @yieldparam params [Hash, Array, Object] the params of the event or method; the content of a plain stream
      # @return [nil]
      # @raise [ArgumentError] without a block
      # @example
      #   RedisIPC::Testing.answer("cook", on: "kitchen") { |params| "#{params[:dish]}, coming up" }
      def answer(event = nil, on:, &block)
        raise ArgumentError, "answer needs a block" unless block

        add_answer(event, on) { |call| [:fulfilled, block.call(call.event ? call.params : call.content)] }
      end

      # Rejects calls from now on, where {answer} would answer them.
      # @param event [String, Symbol, nil] nil rejects every call to the group
      # @param on [String, Symbol] the group asked
      # @param reason [Object] the reason; of JSON-RPC, the error's message or a {JSONRPC::Error}
      # @param error [String, nil] the class of the exception behind it
      # @return [nil]
      def reject(event = nil, on:, reason: "rejected", error: nil)
        add_answer(event, on) { |_| [:rejected, reason, error] }
      end

      # Makes calls time out from now on, without waiting, where {answer} would answer them.
      # @param event [String, Symbol, nil] nil means every call to the group
      # @param on [String, Symbol] the group asked
      # @param outcome [Symbol] as {CallError#outcome}
      # @return [nil]
      def time_out(event = nil, on:, outcome: :unclaimed)
        add_answer(event, on) { |_| [:timed_out, outcome] }
      end

      # @api private
      def matches?(call, event, group)
        call.event == event.to_s && (group.nil? || call.to == group.to_s)
      end

      # @api private
      def record(call)
        @lock.synchronize { @calls << call }
      end

      # @yieldreturn [Array] the answer if the test sets none
      # @api private
      def answer_to(call)
        found = @lock.synchronize { @answers.reverse.find { |answer| answer.first.call(call) } }
        found ? found.last.call(call) : yield
      end

      # Returns the stream that a channel has in tests.
      # @api private
      def stream_of(channel)
        @lock.synchronize { @streams[channel] ||= ChannelState.of(channel).build_stream(nil) }
      end

      private

      def forget
        Receivers.forget
        EventEngine.forget
        @lock.synchronize do
          @calls = []
          @answers = []
          @streams = {}.compare_by_identity
          @published = []
          @deliveries = []
        end
      end

      def switch(mode)
        before = @mode
        @mode = mode
        return unless block_given?

        begin
          yield
        ensure
          @mode = before
        end
      end

      def add_answer(event, group, &answer)
        matches = ->(call) { call.to == group.to_s && (event.nil? || call.event == event.to_s) }
        @lock.synchronize { @answers << [matches, answer] }
        nil
      end
    end

    forget
    private_constant :Engine, :ListEngine, :InLifecycle, :InStream, :InEndpoint, :InServer, :InChannel,
                     :InChannelState, :InRunner, :InPublishers
  end
end

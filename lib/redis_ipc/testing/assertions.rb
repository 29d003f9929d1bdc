# frozen_string_literal: true

module RedisIPC
  module Testing
    # Assertions for Minitest; `require "redis_ipc/minitest"` gives them to every test.
    module Assertions
      # @api private
      def before_setup
        RedisIPC::Testing.begin!
        RedisIPC::Testing.fake!
        super
      end

      # @api private
      def after_teardown
        super
      ensure
        RedisIPC::Testing.end!
        RedisIPC::Testing.fake!
      end

      # Fails unless the event was triggered (in the block, if there is one).
      # @param event [String, Symbol]
      # @param on [String, Symbol, nil] the group asked; nil is any
      # @param with [Hash, nil] the params, as they arrive; nil is any
      # @param times [Integer, nil] nil is at least once
      # @yield what should trigger it
      # @return [Object] what the block returned
      def assert_triggered_event(event, on: nil, with: nil, times: nil, &block)
        result, calls = calls_during(&block)
        found = calls.select { |call| Testing.matches?(call, event, on) && (with.nil? || call.params == with) }
        fits = times ? found.size == times : found.any?
        assert(fits, -> { "expected #{event}#{" on #{on}" if on} to be triggered; calls: #{calls.inspect}" })
        result
      end

      # Fails if the event was triggered (in the block, if there is one).
      # @param (see #assert_triggered_event)
      # @yield what should not trigger it
      # @return [Object] what the block returned
      def refute_triggered_event(event, on: nil, with: nil, &block)
        assert_triggered_event(event, on: on, with: with, times: 0, &block)
      end

      private

      def calls_during
        before = RedisIPC::Testing.calls.size
        return [nil, RedisIPC::Testing.calls] unless block_given?

        [yield, RedisIPC::Testing.calls.drop(before)]
      end
    end
  end
end

# frozen_string_literal: true

module RedisIPC
  module Testing
    # Assertions for Minitest; `require "redis_ipc/minitest"` gives them to every test.
    module Assertions
      include EventDelivery

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
        result, calls = during(:calls, &block)
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

      # Fails unless the event was published (in the block, if there is one).
      # @param type [String, Symbol, nil] nil is any
      # @param to [String, Symbol, nil] the stream; nil is any
      # @param with [Object] the data as it arrives, with Strings or Symbols as keys; without it any
      # @param key [String, Symbol, Integer, nil] nil is any
      # @param times [Integer, nil] nil is at least once
      # @yield what should publish it
      # @return [Object] what the block returned
      def assert_published_event(type = nil, to: nil, with: nil, key: nil, times: nil, &block)
        result, events = during(:published, &block)
        found = events.select { |event| Testing.published_as?(event, type, to, key) }
        found = found.select { |event| event.data_in_both_ways.include?(with) } unless with.nil?
        what = "#{type || "an event"}#{" to #{to}" if to}"
        assert(times ? found.size == times : found.any?,
               -> { "expected #{what} to be published; published: #{events.inspect}" })
        result
      end

      # Fails if the event was published (in the block, if there is one).
      # @param (see #assert_published_event)
      # @yield what should not publish it
      # @return [Object] what the block returned
      def refute_published_event(type = nil, to: nil, with: nil, key: nil, &block)
        assert_published_event(type, to: to, with: with, key: key, times: 0, &block)
      end

      # Fails unless a consumer needs no more deliveries of what it was delivered, up to an event
      # ({Testing.checkpointed?}).
      # @param consumer [Class, Events::Subscription]
      # @param event [ChangeEvent, DeliveredEvent, PublishedEvent, String, nil] an event or its position; nil means all
      # @return [true]
      def assert_checkpointed(consumer, event = nil)
        up_to = " up to #{event.inspect}" if event
        assert(Testing.checkpointed?(consumer, event),
               -> { "expected #{consumer.inspect} to have checkpointed#{up_to}; #{Testing.unsettled(consumer)}" })
      end

      # Fails if it needs none.
      # @param (see #assert_checkpointed)
      # @return [true]
      def refute_checkpointed(consumer, event = nil)
        up_to = " up to #{event.inspect}" if event
        refute(Testing.checkpointed?(consumer, event),
               -> { "expected #{consumer.inspect} not to have checkpointed#{up_to}" })
        true
      end

      private

      # @param kind [Symbol] the method of {Testing} that lists what has happened
      def during(kind)
        return [nil, Testing.public_send(kind)] unless block_given?

        before = Testing.public_send(kind).size
        [yield, Testing.public_send(kind).drop(before)]
      end
    end
  end
end

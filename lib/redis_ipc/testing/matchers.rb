# frozen_string_literal: true

module RedisIPC
  module Testing
    # Matchers for RSpec; `require "redis_ipc/rspec"` gives them to every example.
    module Matchers
      include EventDelivery

      # Returns whether an event was triggered: in a block, by a channel class, or at all since the example began
      # (`expect(RedisIPC::Testing)`).
      # @param event [String, Symbol]
      # @return [HaveTriggeredEvent]
      # @example
      #   expect { get "/menu" }.to have_triggered_event("cook").on("kitchen").with(dish: "pasta")
      #   expect(LivingRoom).not_to have_triggered_event("burn")
      def have_triggered_event(event) # rubocop:disable Naming/PredicateName -- RSpec's way
        HaveTriggeredEvent.new(event)
      end

      # Returns whether an event was published: in a block, or at all since the example began
      # (`expect(RedisIPC::Testing)`).
      # @param type [String, Symbol, nil] nil is any
      # @return [HavePublishedEvent]
      # @example
      #   expect { order.save! }.to have_published_event("order.created").to("orders").with(order_id: 7).with_key("7")
      def have_published_event(type = nil) # rubocop:disable Naming/PredicateName -- RSpec's way
        HavePublishedEvent.new(type)
      end

      # Returns whether a consumer needs no more deliveries of what it was delivered, up to an event
      # ({Testing.checkpointed?}).
      # @param event [ChangeEvent, DeliveredEvent, PublishedEvent, String, nil] an event or its position; nil means all
      # @return [HaveCheckpointed]
      # @example
      #   delivered = deliver_event(BillingEvents, "order.created", order_id: 7)
      #   expect(BillingEvents).to have_checkpointed(delivered)
      def have_checkpointed(event = nil) # rubocop:disable Naming/PredicateName -- RSpec's way
        HaveCheckpointed.new(event)
      end

      # The matcher that {#have_checkpointed} returns.
      class HaveCheckpointed
        include ::RSpec::Matchers::Composable

        # @api private
        def initialize(event)
          @event = event
        end

        # @api private
        def matches?(actual)
          @consumer = actual
          Testing.checkpointed?(actual, @event)
        end

        # @api private
        def description
          ["checkpointed", *("up to #{@event.inspect}" if @event)].join(" ")
        end

        # @api private
        def failure_message
          "expected #{@consumer.inspect} to have #{description}; #{Testing.unsettled(@consumer)}"
        end

        # @api private
        def failure_message_when_negated
          "expected #{@consumer.inspect} not to have #{description}; #{Testing.unsettled(@consumer)}"
        end
      end

      # What the matchers have in common.
      class Counted
        include ::RSpec::Matchers::Composable

        # @param count [Integer] the exact number
        # @return [self]
        def times(count)
          @count = count
          self
        end

        # @return [self]
        def once
          times(1)
        end

        # @return [self]
        def twice
          times(2)
        end

        # @api private
        def supports_block_expectations?
          true
        end

        # @api private
        def supports_value_expectations?
          true
        end

        # @api private
        def failure_message
          "expected to have #{description}; #{listed}"
        end

        # @api private
        def failure_message_when_negated
          "expected not to have #{description}; #{listed}"
        end

        private

        # @param found [Integer]
        def enough?(found)
          @count ? found == @count : found.positive?
        end

        def counted(words)
          [*words, *("#{@count} times" if @count)].join(" ")
        end

        # @param kind [Symbol] the method of {Testing} that lists what has happened
        # @return [Array] what has happened in a block, or all
        def during(actual, kind)
          return Testing.public_send(kind) unless actual.is_a?(Proc)

          before = Testing.public_send(kind).size
          actual.call
          Testing.public_send(kind).drop(before)
        end

        def shown(found)
          found.empty? ? "none" : found.map(&:inspect).join("; ")
        end
      end

      # The matcher that {#have_published_event} returns.
      class HavePublishedEvent < Counted
        # @api private
        def initialize(type)
          super()
          @type = type&.to_s
        end

        # @param stream [String, Symbol]
        # @return [self]
        def to(stream)
          @stream = stream.to_s
          self
        end

        # @param data [Object] the data as it arrives, with Strings or Symbols as keys, or a matcher for it
        # @return [self]
        def with(data)
          @data = [data]
          self
        end

        # @param key [String, Symbol, Integer]
        # @return [self]
        def with_key(key)
          @key = key.to_s
          self
        end

        # @api private
        def matches?(actual)
          @events = during(actual, :published)
          enough?(@events.count { |event| fits?(event) })
        end

        # @api private
        def description
          words = ["published #{@type ? "the event #{@type}" : "an event"}"]
          words << "to #{@stream}" if @stream
          words << "with #{surface_descriptions_in(@data.first).inspect}" if @data
          words << "with the key #{@key}" if @key
          counted(words)
        end

        private

        def fits?(event)
          Testing.published_as?(event, @type, @stream, @key) &&
            (@data.nil? || event.data_in_both_ways.any? { |data| values_match?(@data.first, data) })
        end

        def listed
          "published: #{shown(@events)}"
        end
      end

      # The matcher that {#have_triggered_event} returns.
      class HaveTriggeredEvent < Counted
        # @api private
        def initialize(event)
          super()
          @event = event
        end

        # @param group [String, Symbol] the group asked
        # @return [self]
        def on(group)
          @group = group
          self
        end

        # @param params [Hash, Object] the event's params as they arrive, or a matcher for them
        # @return [self]
        def with(params)
          @params = [params]
          self
        end

        # @api private
        def matches?(actual)
          @calls = calls(actual)
          enough?(@calls.count { |call| fits?(call) })
        end

        # @api private
        def description
          words = ["triggered the event #{@event}"]
          words << "on #{@group}" if @group
          words << "with #{surface_descriptions_in(@params.first).inspect}" if @params
          counted(words)
        end

        private

        def calls(actual)
          return during(actual, :calls) unless actual.is_a?(Class) && actual < Channel

          Testing.calls.select { |call| [call.stream, call.from] == [actual.stream_name, actual.group_name] }
        end

        def fits?(call)
          Testing.matches?(call, @event, @group) && (@params.nil? || values_match?(@params.first, call.params))
        end

        def listed
          "calls: #{shown(@calls)}"
        end
      end
    end
  end
end

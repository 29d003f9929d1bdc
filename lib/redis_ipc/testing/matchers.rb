# frozen_string_literal: true

module RedisIPC
  module Testing
    # Matchers for RSpec; `require "redis_ipc/rspec"` gives them to every example.
    module Matchers
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

      # The matcher that {#have_triggered_event} returns.
      class HaveTriggeredEvent
        include ::RSpec::Matchers::Composable

        # @api private
        def initialize(event)
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

        # @param count [Integer] the exact number of calls
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
        def matches?(actual)
          @calls = calls(actual)
          found = @calls.count { |call| fits?(call) }
          @count ? found == @count : found.positive?
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
          "expected to have #{description}; calls: #{listed}"
        end

        # @api private
        def failure_message_when_negated
          "expected not to have #{description}; calls: #{listed}"
        end

        # @api private
        def description
          words = ["triggered the event #{@event}"]
          words << "on #{@group}" if @group
          words << "with #{surface_descriptions_in(@params.first).inspect}" if @params
          words << "#{@count} times" if @count
          words.join(" ")
        end

        private

        def calls(actual)
          if actual.is_a?(Proc)
            before = Testing.calls.size
            actual.call
            return Testing.calls.drop(before)
          end
          return Testing.calls unless actual.is_a?(Class) && actual < Channel

          Testing.calls.select { |call| [call.stream, call.from] == [actual.stream_name, actual.group_name] }
        end

        def fits?(call)
          Testing.matches?(call, @event, @group) && (@params.nil? || values_match?(@params.first, call.params))
        end

        def listed
          @calls.empty? ? "none" : @calls.map(&:inspect).join("; ")
        end
      end
    end
  end
end

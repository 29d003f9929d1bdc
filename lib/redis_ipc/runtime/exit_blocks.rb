# frozen_string_literal: true

module RedisIPC
  # Finds the `at_exit` blocks that are still to run when the process ends.
  #
  # Ruby runs them in reverse order of registration. So a block that was registered before ours runs after it, and that
  # block may be the program itself: minitest, test-unit, RSpec and Sinatra start from such a block. Ruby has no call
  # that lists the blocks that are left. The garbage collector marks them, and ObjectSpace lists what it marks.
  # @api private
  module ExitBlocks
    class << self
      # Runs the given block right after the last `at_exit` block that is still to run.
      # @return [Boolean] false if no block is left or Ruby does not list them; the given block does not run then
      def after_last(&block)
        remaining.reverse.any? { |other| after(other, &block) }
      end

      private

      def remaining
        require "objspace"
        # The Hash compares its keys by identity.
        _, blocks = ObjectSpace.reachable_objects_from_root.find { |category, _| category == "end_proc" }
        blocks.to_a.grep(Proc)
      rescue LoadError, NotImplementedError, NoMethodError
        []
      end

      # A block that is registered while `other` runs comes right after it.
      def after(other, &block)
        trace = TracePoint.new(:b_call) do
          trace.disable
          at_exit(&block)
        end
        trace.enable(target: other)
        true
      rescue ArgumentError
        # `other` is made of a method, so no TracePoint sees its beginning.
        false
      end
    end
  end
  private_constant :ExitBlocks
end

# frozen_string_literal: true

module RedisIPC
  # Finds the `at_exit` blocks that are still to run when the process ends.
  #
  # Ruby runs them in reverse order of registration. So a block that was registered before ours runs after it, and it
  # may be the program itself: minitest, test-unit, RSpec and Sinatra start from such a block. Ruby has no call that
  # tells which blocks are left; the garbage collector marks them, and ObjectSpace can tell what it marks.
  # @api private
  module ExitBlocks
    class << self
      # Runs the block in turn after the last `at_exit` block that is still to run.
      # @return [Boolean] false if none is left, or Ruby does not tell: then the block is not run
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

      # What is registered while `other` runs comes right after it.
      def after(other, &block)
        trace = TracePoint.new(:b_call) do
          trace.disable
          at_exit(&block)
        end
        trace.enable(target: other)
        true
      rescue ArgumentError
        # It is made of a method, and has no beginning to be noticed.
        false
      end
    end
  end
  private_constant :ExitBlocks
end

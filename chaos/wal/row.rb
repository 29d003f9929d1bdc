# frozen_string_literal: true

require_relative "../events/row"
require_relative "verdict"

module Chaos
  module Wal
    # The result of one fault.
    class Row < Events::Row
      # There are no dead letters.
      def dead
        []
      end

      # Returns the events that were confirmed before they were handled. After a loss, the new slot is ahead of what the
      # consumer still has.
      def early
        before = fault.losses.any? ? @scene.began : Float::INFINITY
        @early ||= books.confirmed_early(@scene.confirmed, before)
      end

      # Returns whether the slot got past what nobody reads.
      def moved_on?
        @scene.moved_on
      end

      # Returns how many times the memory of an idle consumer the most of it was; nil where nobody has looked.
      def growth
        before, most = @scene.memory
        most.fdiv(before) if before
      end

      # Returns the sizes of both in MiB.
      def memory
        @scene.memory.map { |bytes| bytes.fdiv(1024 * 1024).round(1) }
      end

      private

      def verdict
        Verdict.new(self)
      end

      def counts
        super.except(:dead).merge(early: early.size)
      end
    end
  end
end

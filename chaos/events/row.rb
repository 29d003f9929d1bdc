# frozen_string_literal: true

require_relative "../any_row"
require_relative "verdict"

module Chaos
  module Events
    # The result of one fault.
    class Row < AnyRow
      # Returns the seconds in which service must be back: the fault may allow for more.
      def within
        super + fault.pause
      end

      # Returns the figures by name, in the order of the table.
      def figures
        { published: books.published.size, unsure: books.unsure, **counts,
          slowest_ms: slowest && ms(slowest), recovered_ms: recovered && ms(recovered) }
      end

      # Returns the events that were given up on.
      def dead
        positions = @scene.ending.dead
        @dead ||= books.published.select { |event| positions.include?(event.position) }
      end

      # Returns the events whose dead letters held their keys until the fault was over, or had deleted them.
      def held
        failing = books.published.select { |event| event.id.end_with?(*Loads::FAILING) }
        failing.select { |event| event.began.any? { |time| time < back } && event.done.none? { |time| time < back } }
      end

      # Returns the events that were confirmed, and neither handled nor given up on.
      def missing
        @missing ||= books.undone - dead
      end

      # Returns how many events stopped consumers may have had at hand: what a handler holds, it begins when it wakes.
      def at_hand
        @scene.stopped * fault.load.at_hand
      end

      # Returns how many events the row has trimmed.
      def trimmed
        @scene.trimmed
      end

      # Returns the seconds from when Redis was back until an event of each key that was published since was handled.
      def recovered
        keys = (after(back) - dead).group_by(&:key)
        firsts = keys.each_value.map { |list| list.min_by(&:number).done.min }
        firsts.max - back if firsts.any? && firsts.all?
      end

      # Returns the events that were published when service had to be back, and waited too long.
      def late
        after(back + within).select { |event| event.done.any? && waited(event) > within }
      end

      # Returns how long the last events waited at most.
      def slowest
        after(back + within).select { |event| event.done.any? }.map { |event| waited(event) }.max
      end

      private

      def verdict
        Verdict.new(self)
      end

      def counts
        { dead: dead, missing: missing, losses: books.losses, disorder: books.disorder, late: late }
          .transform_values(&:size).merge(reruns: books.reruns)
      end

      def after(time)
        books.published.select { |event| event.sent >= time }
      end

      def waited(event)
        event.done.min - event.published
      end
    end
  end
end

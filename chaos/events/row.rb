# frozen_string_literal: true

require_relative "verdict"

module Chaos
  module Events
    # The result of one fault.
    class Row
      attr_reader :fault, :books

      # @param within [Float] the seconds in which service must be back, beside what the fault allows
      def initialize(scene, books, within:)
        @fault = scene.fault
        @scene = scene
        @books = books
        @within = within
      end

      def run?
        true
      end

      # Returns the seconds in which service must be back.
      def within
        @within + fault.pause
      end

      # Returns whether every process ended by itself.
      def ended?
        @scene.ending.orderly
      end

      # Returns the broken promises in words.
      def failures
        @failures ||= Verdict.new(self).failures
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

      # Returns the events that were confirmed, and neither handled nor given up on.
      def missing
        @missing ||= books.undone - dead
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

      # Returns the errors that `on_error` was told of: by class, their number and the first message.
      def told
        all = books.diaries.flat_map { |diary| diary.told.select { |time, _| time >= @scene.began }.map(&:last) }
        all.group_by { |message| message[/\A[\w:]+\w/] }.transform_values { |messages| [messages.size, messages.first] }
      end

      # Returns processor time and commands per second, before and during the fault.
      def load
        @scene.load
      end

      # Returns when Redis was back.
      def back
        @scene.back
      end

      # Returns the length of the fault in seconds.
      def seconds
        back - @scene.began
      end

      private

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

      def ms(seconds)
        (seconds * 1000).round
      end
    end
  end
end

# frozen_string_literal: true

require_relative "../any_verdict"

module Chaos
  module Events
    # Checks whether a row kept its promises.
    class Verdict < AnyVerdict
      def initialize(row)
        super
        @losses = row.fault.losses
      end

      # Returns the broken promises in words.
      def failures
        [*idle, *unheld, *disorder, *stale, *missing, *losses, *given_up, *reruns, *repeated, *unfinished,
         *unrecovered("key"), *late, *hot]
      end

      private

      def idle
        ["only #{books.published.size} were published"] if books.published.size < 300
      end

      def unheld
        ["no key was held by a dead letter"] if row.fault.load.held && row.held.empty?
      end

      def disorder
        pairs = overtaken
        ["#{pairs.size} were handled before one before them: #{pairs.first.map(&:to_a)}"] if pairs.any?
      end

      def stale
        stale = books.stale
        return if !row.fault.one_owner || stale.size <= row.at_hand

        ["#{stale.size} were begun by a process whose lease was over, as #{stale.first}"]
      end

      def overtaken
        case row.fault.order
        when "none" then []
        when "source" then books.disorder | books.disorder_of_source
        else books.disorder
        end
      end

      # Events may be missing only where the fault loses data, and only those that were published before its end.
      def missing
        missing = row.missing
        missing = missing.select { |event| event.sent >= row.back } if @losses.any?
        ["#{missing.size} are missing, as #{missing.first.to_a}"] if missing.any?
      end

      # What is missing was told, and no more than that.
      def losses
        told = books.losses
        others = told.map(&:cause).uniq - @losses
        [*("losses were told: #{told.map(&:to_a)}" if others.any?), *(untold if told.empty?), *inexact(told)]
      end

      def untold
        return ["no loss was told"] if row.fault.certain

        ["#{row.missing.size} are missing, and no loss was told"] if row.missing.any?
      end

      # Of what was trimmed, it is told how much is missing at most, or exactly.
      def inexact(told)
        return unless @losses.include?(:trimmed)

        count = told.sum(&:at_most)
        return if right_count(told).cover?(count) && exact_enough?(told)

        ["#{row.missing.size} of #{row.trimmed} are missing, #{books.deleted} were found deleted, told were #{count}"]
      end

      # Returns how many may be told to be missing. With an order each consumer tells what it has missed. Without one,
      # what was trimmed after it was delivered is counted as deleted.
      def right_count(told)
        missing = row.missing.size - books.deleted
        missing..(told.all?(&:exact) || row.fault.exact ? missing : row.trimmed * row.fault.consumers)
      end

      def exact_enough?(told)
        !row.fault.exact || row.fault.order == "none" || told.all?(&:exact)
      end

      def given_up
        ["#{row.dead.size} were given up on, not #{row.fault.dead}"] if row.dead.size != row.fault.dead
      end

      def reruns
        ["#{books.reruns} ran again"] if row.fault.once && books.reruns.positive?
      end

      # In the database an event is done once, however often its handler ran.
      def repeated
        repeated = books.repeated
        return unless row.fault.load.database && repeated.any?

        ["#{repeated.size} have had their effect more than once, as #{repeated.first.to_a}"]
      end

      def late
        ["#{row.late.size} waited over #{row.within} s in the end"] if row.late.any?
      end
    end
  end
end

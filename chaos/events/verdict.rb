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
        [*idle, *disorder, *missing, *losses, *given_up, *reruns, *unfinished, *unrecovered("key"), *late, *hot]
      end

      private

      def idle
        ["only #{books.published.size} were published"] if books.published.size < 300
      end

      def disorder
        pairs = books.disorder
        return if row.fault.order == "none" || pairs.empty?

        ["#{pairs.size} were handled before one before them: #{pairs.first.map(&:to_a)}"]
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
        return if row.fault.order == "none"
        return ["no loss was told"] if row.fault.certain

        ["#{row.missing.size} are missing, and no loss was told"] if row.missing.any?
      end

      # Of what was trimmed, it is told how much is missing at most. Without an order that is not promised.
      def inexact(told)
        return if row.fault.order == "none" || !@losses.include?(:trimmed)

        count = told.sum(&:at_most)
        wrong = !told_in_order.cover?(count) || told.any? { |loss| loss.exact != row.fault.exact }
        ["#{row.missing.size} of #{row.trimmed} are missing, told were #{count}"] if wrong
      end

      # Returns how many may be told to be missing. Each consumer tells what it has missed.
      def told_in_order
        missing = row.missing.size
        missing..(row.fault.exact ? missing : row.trimmed * row.fault.consumers)
      end

      def given_up
        ["#{row.dead.size} were given up on, not #{row.fault.dead}"] if row.dead.size != row.fault.dead
      end

      def reruns
        ["#{books.reruns} ran again"] if row.fault.once && books.reruns.positive?
      end

      def late
        ["#{row.late.size} waited over #{row.within} s in the end"] if row.late.any?
      end
    end
  end
end

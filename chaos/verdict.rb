# frozen_string_literal: true

require_relative "any_verdict"
require_relative "figures"

module Chaos
  # Checks whether a row kept its promises.
  class Verdict < AnyVerdict
    # Returns the broken promises in words.
    def failures
      [*broken, *unknown_ends, *differences, *unfinished, *unrecovered("process"), *late, *disconnected, *hot,
       *row.fault.promise&.broken(row)]
    end

    private

    def broken
      counts = { "calls never ended" => row.lost, "calls ended twice" => books.ended_twice,
                 "calls were rejected" => wrongly_rejected,
                 "calls were told that what ran did not" => books.wrongly_denied,
                 "blocks of Future#then ran wrongly" => row.wrongly_called_back }
      counts = counts.transform_values(&:size).merge("answers were another question's" => books.count("mixed_up"))
      counts.filter_map { |what, count| "#{count} #{what}" if count.positive? }
    end

    def wrongly_rejected
      books.wrongly_rejected.reject { |call| row.fault.promise&.given_up?(row, call) }
    end

    def unknown_ends
      unknown = books.by_kind.keys - Row::ENDS - [nil]
      ["calls ended in ways unknown: #{unknown}"] if unknown.any?
    end

    # Returns where the gem's counters differ from the asker's.
    def differences
      Figures.new(books).differences(row.living.select { |diary| diary.worker.role == :asker })
    end

    def late
      ["#{row.late.size} calls failed though asked #{row.within} s after"] if row.late.any? && !row.fault.tolerated
    end

    def disconnected
      down = row.staying.reject { |diary| diary.connected.last&.last }
      ["connected? is false in the end in #{down.size}"] if down.any?
    end
  end
end

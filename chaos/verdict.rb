# frozen_string_literal: true

require_relative "figures"

module Chaos
  # Checks whether a row kept its promises.
  class Verdict
    # The most processor time that a process may use in an outage: far below a hot loop, far above the usual.
    MOST_CPU = 0.5

    def initialize(row)
      @row = row
      @books = row.books
    end

    # Returns the broken promises in words.
    def failures
      [*broken, *unknown_ends, *differences, *unfinished, *unrecovered, *late, *disconnected, *hot,
       *row.fault.promise&.broken(row)]
    end

    private

    attr_reader :row, :books

    def broken
      counts = { "calls never ended" => row.lost, "calls ended twice" => books.ended_twice,
                 "calls were rejected" => wrongly_rejected,
                 "calls were told that what ran did not" => books.wrongly_denied,
                 "blocks of Future#on_fulfilled ran wrongly" => row.wrongly_called_back }
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

    def unfinished
      ["a process did not end of itself"] unless row.ended?
    end

    def unrecovered
      return ["not every process was back"] unless row.recovered

      ["back after #{(row.recovered * 1000).round} ms"] if row.recovered > row.within
    end

    def late
      ["#{row.late.size} calls failed though asked #{row.within} s after"] if row.late.any? && !row.fault.tolerated
    end

    def disconnected
      down = row.staying.reject { |diary| diary.connected.last&.last }
      ["connected? is false in the end in #{down.size}"] if down.any?
    end

    def hot
      busy = row.load[:storm][:cpu]
      return unless row.fault.outage && row.seconds >= 1 && busy > MOST_CPU

      ["#{(busy * 100).round} % of a core during the outage"]
    end
  end
end

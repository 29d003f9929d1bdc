# frozen_string_literal: true

module Chaos
  # Whether a row is as promised.
  class Verdict
    # The most processor time a process may use in an outage: far below a hot loop, far above what it takes.
    MOST_CPU = 0.5

    def initialize(row)
      @row = row
      @books = row.books
    end

    # What is not, in words.
    def failures
      counts = { row.lost.size => "calls never ended", books.count("mixed_up") => "answers were another question's",
                 books.ended_twice.size => "calls ended twice", books.wrongly_rejected.size => "calls were rejected",
                 books.wrongly_called_back.size => "blocks of Future#then ran wrongly" }
      broken = counts.filter_map { |count, what| "#{count} #{what}" if count.positive? }
      [*broken, *unknown_ends, *differences, *unfinished, *unrecovered, *late, *disconnected, *hot]
    end

    private

    attr_reader :row, :books

    def unknown_ends
      unknown = books.by_kind.keys - Row::ENDS - [""]
      ["calls ended in ways unknown: #{unknown}"] if unknown.any?
    end

    # Where the gem counts otherwise than the asker itself.
    def differences
      askers = row.living.select { |diary| diary.worker.role == :asker }
      askers.filter_map do |diary|
        next "an asker left no figures" unless diary.stats

        own = own_figures(diary.worker)
        theirs = diary.stats.values_at(:requests, :fulfilled, :rejected, :timed_out, :failed, :open_calls)
        "the gem counts #{theirs}, its asker #{own}" unless own == theirs
      end
    end

    def own_figures(worker)
      calls = books.calls.each_value.select { |call| call.worker == worker }
      kinds = calls.group_by { |call| call.kind.to_s.split.first }.transform_values(&:size)
      answered, rejected, timed_out, failed, mixed_up = kinds.values_at(*Row::ENDS).map(&:to_i)
      [calls.size, answered + mixed_up, rejected, timed_out, failed, 0]
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
      down = row.living.reject { |diary| diary.connected.last&.last }
      ["connected? is false in the end in #{down.size}"] if down.any?
    end

    def hot
      busy = row.load[:storm][:cpu]
      return unless row.fault.outage && row.seconds >= 1 && busy > MOST_CPU

      ["#{(busy * 100).round} % of a core during the outage"]
    end
  end
end

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
      [*broken, *unknown_ends, *differences, *unfinished, *unrecovered, *late, *disconnected, *hot,
       *row.fault.promise&.broken(row)]
    end

    private

    attr_reader :row, :books

    def broken
      counts = { "calls never ended" => row.lost, "calls ended twice" => books.ended_twice,
                 "calls were rejected" => wrongly_rejected,
                 "blocks of Future#then ran wrongly" => books.wrongly_called_back }
      counts = counts.transform_values(&:size).merge("answers were another question's" => books.count("mixed_up"))
      counts.filter_map { |what, count| "#{count} #{what}" if count.positive? }
    end

    def wrongly_rejected
      books.wrongly_rejected.reject { |call| row.fault.promise&.given_up?(row, call) }
    end

    def unknown_ends
      unknown = books.by_kind.keys - Row::ENDS - [""]
      ["calls ended in ways unknown: #{unknown}"] if unknown.any?
    end

    # Where the gem counts otherwise than the asker itself.
    def differences
      askers = row.living.select { |diary| diary.worker.role == :asker }
      askers.filter_map do |diary|
        next "an asker left no figures" unless diary.stats

        own = own_figures(diary)
        theirs = figures(diary.stats)
        "the gem counts #{theirs}, its asker #{own}" unless own == theirs
      end
    end

    # JSON-RPC counts an error as an answer, as it is one, and knows no limit on what is asked.
    def figures(stats)
      requests, timed_out, failed, open = stats.values_at(:requests, :timed_out, :failed, :open_calls)
      { requests: requests, answers: stats[:fulfilled] + stats[:rejected].to_i, rejected: stats[:rejected],
        timed_out: timed_out, failed: failed, refused: stats[:overloaded].to_i, open: open }.compact
    end

    def own_figures(diary)
      calls = books.calls.each_value.select { |call| call.worker == diary.worker }
      kinds = calls.group_by { |call| call.kind.to_s.split.first }.transform_values(&:size)
      answered, rejected, timed_out, failed, refused, mixed_up = kinds.values_at(*Row::ENDS).map(&:to_i)
      { requests: calls.size - refused, answers: answered + rejected + mixed_up,
        rejected: (rejected if diary.stats[:rejected]), timed_out: timed_out, failed: failed, refused: refused,
        open: 0 }.compact
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

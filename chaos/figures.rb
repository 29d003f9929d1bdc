# frozen_string_literal: true

module Chaos
  # Compares the gem's counters with the askers' journals.
  class Figures
    def initialize(books)
      @books = books
    end

    # @param askers [Array<Books::Diary>] of processes that lived to the end
    # @return [Array<String>] the differences
    def differences(askers)
      askers.filter_map do |diary|
        next "an asker left no figures" unless diary.stats

        own = own_figures(diary)
        theirs = figures(diary.stats)
        "the gem counts #{theirs}, its asker #{own}" unless own == theirs
      end
    end

    private

    attr_reader :books

    # Returns the gem's figures as an asker counts. JSON-RPC counts an error as an answer, and has no `overloaded`.
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
  end
end

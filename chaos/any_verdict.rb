# frozen_string_literal: true

module Chaos
  # What is checked of a row, whatever its load.
  class AnyVerdict
    # The most processor time that a process may use in an outage: far below a hot loop, far above the usual.
    MOST_CPU = 0.5

    def initialize(row)
      @row = row
      @books = row.books
    end

    private

    attr_reader :row, :books

    def unfinished
      ["a process did not end of itself"] unless row.ended?
    end

    # @param who [String] who was not back, if it was not everyone
    def unrecovered(who)
      return ["not every #{who} was back"] unless row.recovered

      ["back after #{(row.recovered * 1000).round} ms"] if row.recovered > row.within
    end

    def hot
      busy = row.load[:storm][:cpu]
      return unless row.fault.outage && row.seconds >= 1 && busy > MOST_CPU

      ["#{(busy * 100).round} % of a core during the outage"]
    end
  end
end

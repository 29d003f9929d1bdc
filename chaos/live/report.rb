# frozen_string_literal: true

require_relative "../report"

module Chaos
  module Live
    # Prints rows of live events as they come.
    class Report < Chaos::Report
      # The heading of each column, and its figure.
      COLUMNS = { "times" => :times, "missing" => :missing, "told at most" => :told, "without a bound" => :unbounded,
                  "median" => :median, "worst" => :worst, "back, ms" => :back_ms, "gap, ms" => :gap_ms }.freeze
      NAME = 80

      def introduce(_within)
        puts "Load: a publisher of about 1,000 messages/s, and a consumer with 2 threads. read_timeout is 1 s."
        puts "missing: sent by Redis, and not handled. told at most: the bounds of what on_loss was told, together."
        puts "median, worst: told for one that was missing, where there is a bound."
        puts "back: the longest time from the end of the fault to a message that was published after it."
        puts "gap: the longest time without a message of one channel, where a slot moves."
        puts "", heading
      end

      private

      def details(row)
        failures(row)
      end
    end
  end
end

# frozen_string_literal: true

require_relative "../events/report"

module Chaos
  module Wal
    # Prints rows of PostgreSQL's log as they come.
    class Report < Events::Report
      # The heading of each column, and its figure.
      NAME = 92
      COLUMNS = Events::Report::COLUMNS.except("dead").merge("early" => :early).freeze

      def introduce(within)
        puts "Load: #{Scene::WRITERS} processes that commit 250 rows/s each, five in a transaction, of 25 keys;"
        puts "a consumer with 3 threads, and perhaps standbys. Target: each key back within #{within} s, and as long"
        puts "as it takes to notice that a process is dead."
        puts "unsure: the commit failed, and may have happened. missing: committed, and not handled."
        puts "disorder: rows that were first handled before one before them of their key. late: waited longer than the"
        puts "target, though committed after it. early: confirmed to the server before they were handled."
        puts "", heading
      end

      private

      def details(row)
        [*super, *("a consumer grew from #{row.memory.first} to #{row.memory.last} MiB" if row.growth)]
      end
    end
  end
end

# frozen_string_literal: true

require_relative "../report"

module Chaos
  module Events
    # Prints rows of events as they come.
    class Report < Chaos::Report
      # The heading of each column, and its figure.
      COLUMNS = { "published" => :published, "unsure" => :unsure, "dead" => :dead, "missing" => :missing,
                  "losses" => :losses, "disorder" => :disorder, "reruns" => :reruns, "late" => :late,
                  "slowest, ms" => :slowest_ms, "back, ms" => :recovered_ms }.freeze
      NAME = 80

      def introduce(within)
        puts "Load: #{Scene::PUBLISHERS} processes that publish up to 500 events/s each, of 25 keys each;"
        puts "1 to 3 consumers with 3 threads each. Target: each key back within #{within} s, and as long as it takes"
        puts "to notice that a process is dead."
        puts "unsure: publishing failed, and may have reached Redis. missing: confirmed, and neither handled nor dead."
        puts "losses: told to on_loss. disorder: events that were first handled before one before them of their key."
        puts "late: waited longer than the target, though published after it. slowest: of these."
        puts "", heading
      end

      private

      def details(row)
        losses = row.books.losses.map { |loss| loss.to_a.drop(1).join(" ") }.tally
        losses = losses.map { |loss, count| "on_loss: #{count} x #{loss}" }
        [cost(row), *told(row), *losses, *failures(row)]
      end

      def cost(row)
        calm, storm = row.load.values_at(:calm, :storm).map { |load| "#{(load[:cpu] * 100).round} % of a core" }
        "busiest process: #{calm} before, #{storm} in the #{format("%.1f", row.seconds)} s of the fault"
      end
    end
  end
end

# frozen_string_literal: true

require_relative "../events/verdict"

module Chaos
  module Wal
    # Checks whether a row kept its promises.
    class Verdict < Events::Verdict
      # How much a consumer may grow in a large transaction.
      MOST = 1.2

      # Returns the broken promises in words.
      def failures
        [*super, *early, *idle_slot, *grown, *incomplete]
      end

      private

      def early
        ["#{row.early.size} were confirmed before they were handled, as #{row.early.first.to_a}"] if row.early.any?
      end

      def idle_slot
        ["the slot did not get past what nobody reads"] unless row.moved_on?
      end

      def grown
        return unless row.growth && row.growth > MOST

        ["a consumer grew from #{row.memory.first} to #{row.memory.last} MiB"]
      end

      # The rows of a large transaction are counted.
      def incomplete
        wanted = row.fault.settings[:large] or return
        ["#{books.large} of #{wanted} rows were handled"] unless books.large == wanted
      end
    end
  end
end

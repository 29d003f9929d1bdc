# frozen_string_literal: true

require_relative "../events/books"

module Chaos
  module Wal
    # Journals of writers and consumers. An event is a row of the table `entries`.
    class Books < Events::Books
      # Where the commit of each event is in the log, as far as a consumer has told it.
      def commits
        @commits ||= {}
      end

      # Returns pairs of events of which the later one in the log was first handled before the first handler of the
      # earlier one had ended.
      def disorder_of_source
        overtaken(handled.select { |event| commits[event.id] }.sort_by { |event| commits[event.id] })
      end

      # Returns the events that were confirmed to the server before a handler had ended well.
      # @param confirmed [Array<Array(Float, Integer)>] how far the slot was confirmed, and by when
      # @param before [Float] what was committed later does not count
      def confirmed_early(confirmed, before)
        handled.select do |event|
          at = commits[event.id]
          time = confirmed.find { |_, lsn| at && lsn > at.first }&.first
          time && event.done.min < before && time < event.done.min
        end
      end

      # Returns how many rows of large transactions were handled.
      def large
        @large.to_i
      end

      private

      def note(diary, what, time, subject, detail)
        super
        case what
        when "committed" then commits[subject] = detail.split.map(&:to_i)
        when "large" then @large = large + subject.to_i
        end
      end
    end
  end
end

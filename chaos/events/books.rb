# frozen_string_literal: true

require_relative "../journal"

module Chaos
  module Events
    # Collects the journals of publishers and consumers.
    class Books
      # An event: when it was sent to Redis and confirmed, and where it is (nil: that failed, or the publisher was not
      # told); when its handlers began and ended well; and the epochs of those who began (0 without an order).
      Event = Struct.new(:id, :sent, :published, :position, :began, :done, :epochs) do
        def key
          id[%r{\A[^/]+}]
        end

        def number
          id[/\d+\z/].to_i
        end
      end

      # What a consumer was told that is missing.
      Loss = Struct.new(:time, :cause, :at_most, :exact)

      # The other entries of one process's journal.
      Diary = Struct.new(:told, :losses, :stats)

      attr_reader :events, :diaries

      # @param effects [Array<Array(String, Float)>] which events have had their effect in a database, and when: where
      #   there is one, that is what ends a handler well
      def initialize(workers, effects = [])
        @events = Hash.new { |all, id| all[id] = Event.new(id, nil, nil, nil, [], [], []) }
        @diaries = workers.map { |worker| read(worker) }
        effects.each { |id, time| events[id].done << time }
      end

      # Returns the events that Redis has confirmed.
      def published
        events.each_value.select(&:published)
      end

      # Returns the events that Redis has confirmed and no handler has finished.
      def undone
        published.select { |event| event.done.empty? }
      end

      # Returns how many events failed to be published, as far as the publishers know.
      def unsure
        events.size - published.size
      end

      # Returns how often handlers began beyond once for each event.
      def reruns
        events.each_value.sum { |event| [event.began.size - 1, 0].max }
      end

      # Returns the events that were done more than once.
      def repeated
        events.each_value.select { |event| event.done.size > 1 }
      end

      # Returns how many events consumers found deleted when they took them over.
      def deleted
        diaries.sum { |diary| diary.stats.fetch(:deleted, 0) }
      end

      # Returns what all consumers were told.
      def losses
        diaries.flat_map(&:losses)
      end

      # Returns the pairs of events of one key of which the later one was first handled before the first handler of the
      # earlier one had ended.
      def disorder
        handled.group_by(&:key).each_value.flat_map { |list| overtaken(list.sort_by(&:number)) }
      end

      # Returns such pairs of all events, in the order of the stream.
      def disorder_of_source
        overtaken(handled.select(&:position).sort_by { |event| event.position.split("-").map(&:to_i) })
      end

      # Returns the ids of events that a process began after the next owner of their key had begun one: its lease was
      # over.
      def stale
        events.each_value.group_by(&:key).each_value.flat_map do |list|
          begins = list.flat_map { |event| event.began.zip(event.epochs, [event.id] * event.began.size) }
          latest = 0
          begins.sort.filter_map { |_, epoch, id| epoch < latest ? id : (latest = epoch) && nil }
        end
      end

      private

      def handled
        events.each_value.select { |event| event.done.any? }
      end

      def overtaken(list)
        list.each_cons(2).select { |one, other| other.began.min < one.done.min }
      end

      def read(worker)
        diary = Diary.new([], [], {})
        Journal.read(worker.journal) { |*entry| note(diary, *entry) }
        diary
      end

      def note(diary, what, time, subject, detail)
        case what
        when "published" then note_published(events[subject], time, detail)
        when "unpublished" then events[subject]
        when "began" then note_began(events[subject], time, detail)
        when "done" then events[subject].done << time
        when "told" then diary.told << [time, subject]
        when "stats" then diary.stats = JSON.parse(subject, symbolize_names: true)
        when "missed" then diary.losses << Loss.new(time, subject.to_sym, *JSON.parse(detail).values)
        end
      end

      def note_began(event, time, detail)
        event.began << time
        event.epochs << detail.split[1].to_i
      end

      def note_published(event, time, position)
        event.published = time
        event.position, sent = position.split
        event.sent = sent.to_f
      end
    end
  end
end

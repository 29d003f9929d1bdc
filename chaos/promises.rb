# frozen_string_literal: true

require "set"

module Chaos
  # What must hold in some rows besides what must in all. Each has `broken(row)`: what does not, in words.
  module Promises
    # Nothing else; for the others to be based on.
    class Promise
      # Whether it is right that this call ended as given up on.
      def given_up?(_row, _call)
        false
      end
    end

    # What kills who answers is given up on after the last delivery, and its asker is told. So may be some of what is
    # held beside it, if its own deadline is not before that.
    class PoisonIsGivenUpOn < Promise
      # @param count [Integer] how many there are
      # @param deliveries [Integer] how often each is delivered
      # @param told [String] how their calls end
      # @param beside [Integer] the most that is given up on beside each
      def initialize(count:, deliveries:, told:, beside:)
        super()
        @beside = beside
        @count = count
        @deliveries = deliveries
        @told = told
      end

      def given_up?(row, call)
        call.kind == @told && dead(row).include?(call.id)
      end

      def broken(row)
        poison = row.books.asked("poison").map(&:id)
        beside = row.dead - poison
        [*("#{poison.size} were asked, not #{@count}" if poison.size != @count),
         *("#{(poison - row.dead).size} are no dead letters" if (poison - row.dead).any?),
         *("#{beside.size} others were given up on" if beside.size > @beside * @count),
         *untold(row), *runs(row, poison)]
      end

      private

      # A batch is one call.
      def dead(row)
        row.dead.map { |id| Books.whole(id) }.uniq
      end

      # Who sends a notification is told nothing.
      def untold(row)
        calls = row.books.calls.values_at(*dead(row)) - row.books.asked("notice")
        ends = calls.map(&:kind).uniq - [@told, "timed_out unknown"]
        ends |= row.books.asked("poison").map(&:kind) - [@told]
        ["dead letters' calls ended as #{ends}, not #{@told}"] if ends.any?
      end

      def runs(row, poison)
        counts = row.books.runs.map(&:last).tally.values_at(*poison).uniq
        ["poison ran #{counts} times, not #{@deliveries}"] if counts != [@deliveries]
      end
    end

    # Of far more than can be done, what is done is what can still be answered in time; and nothing piles up.
    class OverloadIsShed < Promise
      # Seconds between a call's beginning and Redis having it, on a busy machine.
      ON_THE_WAY = 0.5
      # The most of them, and the most that one process or Redis may have: far above what is there in calm.
      BYTES = 200 * 1024 * 1024

      # @param times [Integer] how many times more than can be done must have been asked, for this to show anything
      # @param spare [Numeric] how many times what is asked in the time of a call may wait at once
      def initialize(times:, spare: 1.5)
        super()
        @times = times
        @spare = spare
      end

      def broken(row)
        asked = row.books.calls.each_value.select { |call| row.meanwhile?(call.asked) }
        ran = row.books.runs.select { |time, _| row.meanwhile?(time) }
        [*weak(asked, ran), *expired(row), *pointless(row, ran), *silent(row), *unshed(row), *piled_up(row, asked)]
      end

      private

      def weak(asked, ran)
        ["only #{asked.size} were asked, and #{ran.size} ran"] if asked.size < ran.size * @times
      end

      def expired(row)
        late = row.books.runs.count { |time, id| time > row.books.calls[id].asked + row.fault.timeout + ON_THE_WAY }
        ["#{late} ran after their deadline"] if late.positive?
      end

      # Most of what ran was answered in time.
      def pointless(row, ran)
        answered = ran.count { |_, id| row.books.calls[id].answered? }
        ["of #{ran.size} that ran #{answered} were answered in time"] if answered < ran.size / 2
      end

      # It never stands still.
      def silent(row)
        ended = row.books.calls.each_value.select(&:answered?).map(&:ended_at).select { |time| row.meanwhile?(time) }
        times = [row.back - row.seconds, *ended.sort, row.back]
        pause = times.each_cons(2).map { |before, after| after - before }.max
        ["no answer for #{pause.round(1)} s"] if pause > 1
      end

      # What did not run was counted by somebody: by those who answer, or by those who ask.
      def unshed(row)
        shed = row.books.diaries.sum { |diary| diary.stats.to_h.values_at(:shed, :overloaded).sum(&:to_i) }
        ends = row.books.calls.each_value.count { |call| call.kind =~ /\Arefused|OverloadedError\z/ }
        return ["nobody was told of the overload"] if ends.zero?

        ["#{ends} calls were told of the overload, #{shed} counted"] if shed < ends
      end

      # No more waits than what is asked in the time of a call.
      def piled_up(row, asked)
        bound = (asked.size / row.seconds * row.fault.timeout * @spare).round
        [*("#{row.most[:waiting]} waited at once, over #{bound}" if row.most[:waiting] > bound),
         *("#{row.waiting} are left" if row.waiting.positive?),
         *row.most.slice(:redis, :process).select { |_, bytes| bytes > BYTES }.map { |what, n| "#{what}: #{n} bytes" }]
      end
    end

    # No handler runs for the same request twice.
    class NothingRunsTwice < Promise
      def broken(row)
        ["#{row.books.reruns} requests ran twice"] if row.books.reruns.positive?
      end
    end

    # No call is lost or late.
    class EveryCallIsAnswered < Promise
      def broken(row)
        others = row.books.calls.each_value.reject(&:answered?).map(&:kind).tally
        ["not every call was answered: #{others}"] if others.any?
      end
    end

    # Both.
    class EveryCallIsAnsweredOnce < EveryCallIsAnswered
      def broken(row)
        [*super, *NothingRunsTwice.new.broken(row)]
      end
    end

    # Nobody notices anything: every call is answered, nothing runs twice, and on_error is told nothing.
    class NothingIsNoticed < EveryCallIsAnsweredOnce
      def broken(row)
        [*super, *("on_error was told: #{row.told}" if row.told.any?)]
      end
    end

    # Each of several.
    class Together < Promise
      def initialize(*promises)
        super()
        @promises = promises
      end

      def given_up?(row, call)
        @promises.any? { |promise| promise.given_up?(row, call) }
      end

      def broken(row)
        @promises.flat_map { |promise| Array(promise.broken(row)) }
      end
    end

    # So many entries become dead letters, and no others.
    class AreGivenUp < Promise
      def initialize(count)
        super()
        @count = count
      end

      def broken(row)
        ["#{row.dead.size} are dead letters, not #{@count}"] if row.dead.size != @count
      end
    end

    # No process and not Redis has more memory than so many bytes (see Scene#stand_and_look).
    class NothingGrows < Promise
      def initialize(**bounds)
        super()
        @bounds = bounds
      end

      def broken(row)
        @bounds.filter_map { |what, bound| "#{what}: #{row.most[what]} bytes" unless row.most[what].between?(1, bound) }
      end
    end

    # Who notices what cannot be read tells of it once.
    class MalformedIsToldOnce < Promise
      def broken(row)
        counts = row.books.diaries.map do |diary|
          diary.told.count { |_, message| message.start_with?("RedisIPC::MalformedEntryError") }
        end
        ["it was told #{counts} times"] unless counts.max == 1
      end
    end

    # What exceeds a limit of Redis fails alone, and soon. All other calls are answered.
    class WhatIsTooLargeFailsAlone < Promise
      # @param ends [Hash{String => Array<Regexp, Integer>}] by the name of such calls: how they end, and how many there
      #   are
      # @param within [Numeric] seconds that each of them takes at most
      def initialize(ends, within:)
        super()
        @ends = ends
        @within = within
      end

      def given_up?(_row, call)
        @ends.key?(call.id.split("/")[1])
      end

      def broken(row)
        others = row.books.calls.each_value.reject { |call| call.answered? || given_up?(row, call) }.map(&:kind).tally
        [*("other calls ended as #{others}" if others.any?),
         *@ends.flat_map { |name, (how, count)| wrong(name, how, count, row.books.asked(name)) }]
      end

      private

      def wrong(name, how, count, calls)
        others = calls.map(&:kind).grep_v(how).tally
        slowest = calls.map(&:seconds).max
        [*("#{calls.size} calls were #{name}, not #{count}" if calls.size != count),
         *("calls that are #{name} ended as #{others}" if others.any?),
         *("one that is #{name} took #{slowest.round(1)} s" if slowest && slowest > @within)]
      end
    end

    # A notification that Redis had ran, or is still there.
    class NoticesAreNotLost < Promise
      def broken(row)
        ran = Set.new(row.books.runs.map { |_, id| id })
        notices = row.books.asked("notice").select(&:answered?)
        lost = notices.count { |call| !ran.include?(call.id) } - row.waiting
        ["#{lost} notifications are lost"] if lost.positive? || notices.empty?
      end
    end

    # As that, and everything that was asked is done with in the end: nothing is left where nobody looks.
    class NothingIsLeft < NoticesAreNotLost
      def broken(row)
        [*super, *("#{row.waiting} requests are left" if row.waiting.positive?)]
      end
    end
  end
end

# frozen_string_literal: true

require "set"

module Chaos
  # Promises that must hold in some rows. Each has `broken(row)`, which returns the broken ones in words.
  module Promises
    # The base class of the others.
    class Promise
      # Returns whether a call may end as given up on.
      def given_up?(_row, _call)
        false
      end
    end

    # A request that kills the process that runs it is given up on after its last delivery, and its asker is told. So
    # may be some requests that were held beside it, if their deadline is not before that.
    class PoisonIsGivenUpOn < Promise
      # @param count [Integer] the number of such requests
      # @param deliveries [Integer] the deliveries of each
      # @param told [String] how their calls end
      # @param beside [Integer] the most requests given up on beside each
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

      # Returns the calls that were given up on. A batch is one call.
      def dead(row)
        row.dead.map { |id| Books.whole(id) }.uniq
      end

      # Returns the calls whose asker was not told. The asker of a notification is told nothing.
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

    # Under overload, the requests that run are those that can still be answered in time, and nothing piles up.
    class OverloadIsShed < Promise
      # Seconds until Redis has a call's request, on a busy machine.
      ON_THE_WAY = 0.5
      # The most memory in bytes of one process and of Redis: far above the usual.
      BYTES = 200 * 1024 * 1024

      # @param times [Integer] the load in multiples of what can be done, for this to show anything
      # @param spare [Numeric] the requests that may wait at once, in multiples of what is asked in the time of a call
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

      # Most requests that ran were answered in time.
      def pointless(row, ran)
        answered = ran.count { |_, id| row.books.calls[id].answered? }
        ["of #{ran.size} that ran #{answered} were answered in time"] if answered < ran.size / 2
      end

      # Answers never stop for long.
      def silent(row)
        ended = row.books.calls.each_value.select(&:answered?).map(&:ended_at).select { |time| row.meanwhile?(time) }
        times = [row.back - row.seconds, *ended.sort, row.back]
        pause = times.each_cons(2).map { |before, after| after - before }.max
        ["no answer for #{pause.round(1)} s"] if pause > 1
      end

      # Each request that did not run was counted by an answerer or an asker.
      def unshed(row)
        shed = row.books.diaries.sum { |diary| diary.stats.to_h.values_at(:shed, :overloaded).sum(&:to_i) }
        ends = row.books.calls.each_value.count { |call| call.kind =~ /\Arefused|OverloadedError\z/ }
        return ["nobody was told of the overload"] if ends.zero?

        ["#{ends} calls were told of the overload, #{shed} counted"] if shed < ends
      end

      # No more requests wait than are asked in the time of a call.
      def piled_up(row, asked)
        bound = (asked.size / row.seconds * row.fault.timeout * @spare).round
        [*("#{row.most[:waiting]} waited at once, over #{bound}" if row.most[:waiting] > bound),
         *("#{row.waiting} are left" if row.waiting.positive?),
         *row.most.slice(:redis, :process).select { |_, bytes| bytes > BYTES }.map { |what, n| "#{what}: #{n} bytes" }]
      end
    end

    # No handler runs twice for a request.
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

    # Every call is answered, and no request runs twice.
    class EveryCallIsAnsweredOnce < EveryCallIsAnswered
      def broken(row)
        [*super, *NothingRunsTwice.new.broken(row)]
      end
    end

    # Nothing is noticed: every call is answered, no request runs twice, and `on_error` is told nothing.
    class NothingIsNoticed < EveryCallIsAnsweredOnce
      def broken(row)
        [*super, *("on_error was told: #{row.told}" if row.told.any?)]
      end
    end

    # Several promises together.
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

    # A number of entries become dead letters, and no others.
    class AreGivenUp < Promise
      def initialize(count)
        super()
        @count = count
      end

      def broken(row)
        ["#{row.dead.size} are dead letters, not #{@count}"] if row.dead.size != @count
      end
    end

    # Neither a process nor Redis has more memory than a number of bytes (see Scene#stand_and_look).
    class NothingGrows < Promise
      def initialize(**bounds)
        super()
        @bounds = bounds
      end

      def broken(row)
        @bounds.filter_map { |what, bound| "#{what}: #{row.most[what]} bytes" unless row.most[what].between?(1, bound) }
      end
    end

    # An instance that meets unreadable data reports it once.
    class MalformedIsToldOnce < Promise
      def broken(row)
        counts = row.books.diaries.map do |diary|
          diary.told.count { |_, message| message.start_with?("RedisIPC::MalformedEntryError") }
        end
        ["it was told #{counts} times"] unless counts.max == 1
      end
    end

    # A message over a limit of Redis fails alone, and soon. All other calls are answered.
    class WhatIsTooLargeFailsAlone < Promise
      # @param ends [Hash{String => Array<Regexp, Integer>}] how such calls end, and their number, by the name of the
      #   kind
      # @param within [Numeric] the most seconds that each of them takes
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

    # A notification that Redis had ran, or is still in Redis.
    class NoticesAreNotLost < Promise
      def broken(row)
        ran = Set.new(row.books.runs.map { |_, id| id })
        notices = row.books.asked("notice").select(&:answered?)
        lost = notices.count { |call| !ran.include?(call.id) } - row.waiting
        ["#{lost} notifications are lost"] if lost.positive? || notices.empty?
      end
    end

    # No notification is lost, and every request ends: none is left on a list that nobody reads.
    class NothingIsLeft < NoticesAreNotLost
      def broken(row)
        [*super, *("#{row.waiting} requests are left" if row.waiting.positive?)]
      end
    end
  end
end

# frozen_string_literal: true

require_relative "any_row"
require_relative "verdict"

module Chaos
  # The result of one fault.
  class Row < AnyRow
    ENDS = %w[answered rejected timed_out failed refused mixed_up].freeze

    # Returns the ids of the questions that were given up on.
    def dead
      @scene.ending.dead
    end

    # Returns how many requests were left in the end.
    def waiting
      @scene.ending.waiting
    end

    # Returns the figures by name, in the order of the table.
    def figures
      { calls: books.calls.size, **ENDS.to_h { |kind| [kind.to_sym, books.count(kind)] }, dead: dead.size,
        died: died.size, lost: lost.size, twice: books.ended_twice.size, reruns: books.reruns, late: late.size,
        recovered_ms: recovered && ms(recovered) }
    end

    # Returns how calls ended other than by an answer, and how soon.
    def seen
      unanswered = books.calls.each_value.reject { |call| call.answered? || call.ends.empty? }
      unanswered.group_by(&:kind).map do |kind, calls|
        soonest, latest = calls.map(&:seconds).minmax.map { |seconds| format("%.2f", seconds) }
        "#{calls.size} x #{kind} after #{soonest}-#{latest} s"
      end
    end

    # Returns how soon `connected?` was false, and how soon true again.
    def connected
      changes = living.map { |diary| diary.connected.select { |time, _| time >= began } }
      down = changes.filter_map { |list| list.find { |_, value| !value }&.first }
      return "stayed true" if down.empty?

      "false in #{down.size} of #{changes.size} after #{ms(down.max - began)} ms, #{connected_again(changes)}"
    end

    # Returns the most memory and waiting requests seen during the fault, if they were watched.
    def most
      @scene.most
    end

    # Returns whether a time is during the fault.
    def meanwhile?(time)
      time.between?(began, back)
    end

    # Returns the calls that never ended though their processes lived on.
    def lost
      books.lost(but: @scene.killed)
    end

    # Returns the calls whose `Future#then` block did not run, or ran wrongly.
    def wrongly_called_back
      books.wrongly_called_back(but: @scene.killed)
    end

    # Returns the diaries of the processes that stayed until the end.
    def staying
      living.reject { |diary| @scene.left.include?(diary.worker) }
    end

    # Returns the diaries of the processes that were not killed.
    def living
      books.diaries.reject { |diary| @scene.killed.include?(diary.worker) }
    end

    # Returns the seconds from when Redis was back until every living process had asked and answered again.
    def recovered
      @recovered ||= begin
        times = staying.map { |diary| diary.worker.role == :asker ? first_answer(diary) : first_run(diary) }
        times.max - back if times.all?
      end
    end

    # Returns the calls that were asked when service had to be back, and were not answered.
    def late
      asked_after.select { |call| call.asked >= back + within && !call.answered? && !call.ends.empty? }
    end

    private

    def verdict
      Verdict.new(self)
    end

    def died
      books.lost - lost
    end

    def connected_again(changes)
      changes = changes.reject(&:empty?)
      return "true no more" unless changes.all? { |list| list.last.last }

      "true #{ms(changes.map { |list| list.last.first }.max - back)} ms after"
    end

    def asked_after
      @asked_after ||= books.calls.each_value.select { |call| call.asked >= back }
    end

    def first_answer(diary)
      asked_after.select { |call| call.worker == diary.worker && call.answered? }.map(&:ended_at).min
    end

    def first_run(diary)
      diary.ran.find { |_, id| books.calls[id] && books.calls[id].asked >= back }&.first
    end
  end
end

# frozen_string_literal: true

module Chaos
  # A fault that cannot happen here.
  NotRun = Struct.new(:fault, :reason) do
    def failures
      []
    end

    def run?
      false
    end
  end

  # What became of the load of one fault, and whether that is as promised.
  class Row
    ENDS = %w[answered rejected timed_out failed mixed_up].freeze
    # The most processor time a process may use in an outage: far below a hot loop, far above what it takes.
    MOST_CPU = 0.5

    attr_reader :fault, :books

    # @param within [Float] in how many seconds service must be back
    def initialize(fault, scene, books, within:, ended:, dead:)
      @fault = fault
      @scene = scene
      @books = books
      @within = within
      @ended = ended
      @dead = dead
    end

    def run?
      true
    end

    # The figures, by name, in the order of the table.
    def figures
      { calls: books.calls.size, **ENDS.to_h { |kind| [kind.to_sym, books.count(kind)] }, dead: @dead,
        died_with_asker: died.size, lost: lost.size, twice: books.ended_twice.size, reruns: books.reruns, recovered_ms: recovered && (recovered * 1000).round,
        failed_after: late.size }
    end

    # What is not as promised, in words.
    def failures
      @failures ||= [*broken_books, *unfinished, *unrecovered, *hot].compact
    end

    # How calls ended for those who asked during the fault, other than by an answer.
    def seen
      away = books.calls.each_value.select { |call| !call.answered? && !call.ends.empty? }
      away.group_by(&:kind).map do |kind, calls|
        times = calls.map(&:seconds)
        "#{calls.size} x #{kind} after #{format("%.2f", times.min)}-#{format("%.2f", times.max)} s"
      end
    end

    # What connected? said: how soon false, how soon true again.
    def connected
      changes = living.map { |diary| diary.connected.select { |time, _| time >= @scene.began } }
      down = changes.filter_map { |list| list.find { |_, value| !value }&.first }
      return "stayed true" if down.empty?

      up = changes.filter_map { |list| list.last.first if list.any? && list.last.last }
      "false in #{down.size} of #{changes.size} after #{ms(down.max - @scene.began)} ms, " \
        "true #{up.size == changes.count(&:any?) && up.any? ? "#{ms(up.max - @scene.back)} ms after" : "no more"}"
    end

    # What on_error was told, by class, with the first message of each.
    def told
      all = books.diaries.flat_map { |diary| diary.told.select { |time, _| time >= @scene.began }.map(&:last) }
      all.group_by { |message| message[/\A[\w:]+/] }.transform_values { |messages| [messages.size, messages.first] }
    end

    # Processor time and commands per second, before and during the fault.
    def load
      @scene.load
    end

    def outage_seconds
      @scene.back - @scene.began
    end

    private

    def lost
      books.lost(but: @scene.killed)
    end

    def died
      books.lost - lost
    end

    def living
      books.diaries.reject { |diary| @scene.killed.include?(diary.worker) }
    end

    # From when Redis was back until every living process had asked and answered again.
    def recovered
      @recovered ||= begin
        times = living.map { |diary| diary.worker.role == :asker ? first_answer(diary) : first_run(diary) }
        times.max - @scene.back if times.all?
      end
    end

    def asked_after
      @asked_after ||= books.calls.each_value.select { |call| call.asked >= @scene.back }
    end

    def first_answer(diary)
      asked_after.select { |call| call.worker == diary.worker && call.answered? }.map(&:ended_at).min
    end

    def first_run(diary)
      diary.ran.find { |_, id| books.calls[id] && books.calls[id].asked >= @scene.back }&.first
    end

    # Calls that were not answered though they were asked when all was to be well again.
    def late
      asked_after.select { |call| call.asked >= @scene.back + @within && !call.answered? && !call.ends.empty? }
    end

    def broken_books
      [
        ("#{lost.size} calls never ended" if lost.any?),
        ("#{books.count("mixed_up")} answers were another question's" if books.count("mixed_up").positive?),
        ("#{books.count("rejected")} calls were rejected" if books.count("rejected").positive?),
        ("#{books.ended_twice.size} calls ended twice" if books.ended_twice.any?),
        ("#{books.wrongly_called_back.size} blocks of Future#then ran wrongly" if books.wrongly_called_back.any?),
        ("calls ended in ways unknown: #{unknown_ends}" if unknown_ends.any?),
        *living.select { |diary| diary.worker.role == :asker }.filter_map { |diary| difference(diary) }
      ]
    end

    def unknown_ends
      books.by_kind.keys - ENDS - [""]
    end

    # Where the gem counts otherwise than the asker itself.
    def difference(diary)
      return "an asker left no figures" unless diary.stats

      calls = books.calls.each_value.select { |call| call.worker == diary.worker }
      kinds = calls.group_by { |call| call.kind.to_s.split.first }.transform_values(&:size)
      answered, rejected, timed_out, failed, mixed_up = kinds.values_at(*ENDS).map(&:to_i)
      own = [calls.size, answered + mixed_up, rejected, timed_out, failed, 0]
      theirs = diary.stats.values_at(:requests, :fulfilled, :rejected, :timed_out, :failed, :open_calls)
      "the gem counts #{theirs}, its asker #{own}" unless own == theirs
    end

    def unfinished
      [("a process did not end of itself" unless @ended)]
    end

    def unrecovered
      down = living.reject { |diary| diary.connected.last&.last }
      [
        ("not every process was back" unless recovered),
        ("back after #{ms(recovered)} ms" if recovered && recovered > @within),
        ("#{late.size} calls failed though asked #{@within} s after" if late.any? && !fault.tolerated),
        ("connected? is false in the end in #{down.size}" if down.any?)
      ]
    end

    def hot
      busy = load[:storm][:cpu]
      return [] unless fault.outage && outage_seconds >= 1 && busy > MOST_CPU

      ["#{(busy * 100).round} % of a core during the outage"]
    end

    def ms(seconds)
      (seconds * 1000).round
    end
  end
end

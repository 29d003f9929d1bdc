# frozen_string_literal: true

module Oracle
  # Compares the promises to the calls of one kind with what the askers and the handlers noted.
  class Audit
    # The ways in which a call may be rejected while faults happen. A call that is rejected otherwise breaks a promise.
    REJECTIONS = %w[OverloadedError DeadLetteredError MayHaveRunError CommandError -32000 -32001 -32603].freeze

    def initialize(traffic, books, world)
      @traffic = traffic
      @books = books
      @world = world
    end

    # @return [Array<String>] the broken promises
    def failures
      checks = { "never ended" => lost, "ended twice" => books.ended_twice,
                 "got the answer of another" => ended("mixed_up"), "ended in a way unknown" => unknown,
                 "were rejected for no reason known" => oddly_rejected,
                 "had Future#then called wrongly" => wrongly_called_back,
                 "ran though they ended as :unclaimed, :not_sent or refused" => books.wrongly_denied,
                 "were answered though no handler ran" => unrun, "ran more than once" => rerun,
                 "are notifications that are lost" => lost_notices }
      told = checks.filter_map { |what, calls| "#{calls.size} #{what}: #{examples(calls)}" if calls.any? }
      [*told, *differences].map { |text| "#{@traffic.name}: #{text}" }
    end

    # @return [Hash{String => Integer}] how calls ended
    def figures
      { "calls" => calls.size, **calls.map { |call| call.kind || "died" }.tally.sort.to_h,
        "runs" => books.runs.size, "reruns" => books.reruns, "dead" => dead.size }
    end

    # @return [Array<String>] the last error of each class that `on_error` was told of
    def told
      all = books.diaries.flat_map(&:told).sort_by(&:first)
      all.group_by { |_, message| message[/\A[\w:]+\w/] }.map do |name, list|
        "#{list.size} x #{name}, at #{list.last.first}: #{list.last.last}"
      end
    end

    # Returns the calls made since `time` that were not answered.
    # @return [Array<Chaos::Books::Call>]
    def unanswered_since(time)
      calls.select { |call| call.asked >= time && !call.answered? && call.ends.any? }
    end

    # Returns whether every living asker was answered since `time`.
    def served_since?(time)
      answered = calls.select { |call| call.asked >= time && call.answered? }.map(&:worker).uniq
      (@world.askers - answered.map(&:worker)).empty?
    end

    private

    attr_reader :books

    def calls
      books.calls.values
    end

    def examples(calls)
      calls.first(3).map { |call| "#{call.id} (#{call.kind}, asked at #{call.asked}, ran #{times[call.id].inspect})" }
           .join(", ")
    end

    def killed?(part)
      @world.killed.include?(part.worker)
    end

    def lost
      books.lost.reject { |call| killed?(call.worker) }
    end

    def wrongly_called_back
      books.wrongly_called_back(but: books.diaries.map(&:worker).select { |part| killed?(part) })
    end

    def ended(kind)
      calls.select { |call| call.kind == kind }
    end

    def unknown
      calls.reject { |call| call.ends.empty? || Chaos::Row::ENDS.include?(call.kind.split.first) }
    end

    def oddly_rejected
      ended_so = calls.select { |call| call.kind.to_s.start_with?("rejected") }
      ended_so.reject { |call| call.kind.end_with?(*REJECTIONS) }
    end

    # Returns the times at which handlers ran, by the call's id. A batch is one call.
    def times
      @times ||= books.runs.each_with_object(Hash.new([].freeze)) do |(time, id), all|
        all[Chaos::Books.whole(id)] += [time]
      end
    end

    def unrun
      calls.select { |call| call.answered? && !times.key?(call.id) } - notices
    end

    def rerun
      return [] unless @traffic.once

      twice = books.runs.map(&:last).tally.select { |_, count| count > 1 }.keys
      twice.map { |id| books.calls.fetch(Chaos::Books.whole(id)) }.uniq
    end

    def notices
      books.asked("notice")
    end

    # Returns the notifications that Redis had, that no handler ran, and that no fault removed from Redis.
    def lost_notices
      return [] if @traffic.once

      silent = notices.select(&:answered?).reject { |call| times.key?(call.id) || dead.include?(call.id) }
      silent.reject { |call| @world.lost_since?(call.asked) }
    end

    def dead
      @dead ||= @world.dead_in(@traffic).map { |id| Chaos::Books.whole(id) }.uniq
    end

    def differences
      living = books.diaries.select { |diary| diary.worker.role == :asker && !killed?(diary.worker) }
      Chaos::Figures.new(books).differences(living)
    end
  end
end

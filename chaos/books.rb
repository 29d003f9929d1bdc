# frozen_string_literal: true

require_relative "journal"

module Chaos
  # Collects the journals of all processes.
  class Books
    # One call: the time it was made, and each end it had.
    Call = Struct.new(:id, :asked, :ends, :called_back, :worker) do
      def kind
        ends.first&.last
      end

      def answered?
        kind == "answered"
      end

      # An asynchronous call ends for its asker when its block runs.
      def ended_at
        (called_back.first || ends.first&.first)
      end

      def seconds
        ended_at - asked
      end
    end

    # Matches the ends that say that the request did not run, so that the asker may ask again.
    DENIED = /\Arefused\z|OverloadedError\z| (unclaimed|not_sent)\z/

    # The other entries of one process's journal.
    Diary = Struct.new(:worker, :connected, :told, :stats, :ran)

    # Returns the id of the call that a question belongs to. A batch is one call; its questions have ids after a dot.
    def self.whole(id)
      id[/\A[^.]+/]
    end

    attr_reader :calls, :diaries

    def initialize(workers)
      @calls = {}
      @diaries = workers.map { |worker| read(worker) }
    end

    def by_kind
      @by_kind ||= calls.values.group_by { |call| call.kind.to_s.split.first }.transform_values(&:size)
    end

    def count(kind)
      by_kind.fetch(kind, 0)
    end

    # Returns the calls that never ended, of processes that lived to the end.
    def lost(but: [])
      calls.each_value.select { |call| call.ends.empty? && !but.include?(call.worker) }
    end

    def ended_twice
      calls.each_value.select { |call| call.ends.size > 1 || call.called_back.size > 1 }
    end

    # Returns the calls that were answered and whose `Future#then` block did not run, or the other way round. A process
    # of `but` was killed: it may have been killed between the answer and the block.
    def wrongly_called_back(but: [])
      calls.each_value.select do |call|
        next if call.ends.empty? || !call.id.include?("/steady/")

        call.answered? ? call.called_back.empty? && !but.include?(call.worker) : call.called_back.any?
      end
    end

    # Returns the calls that were rejected for another reason than overload during a fault.
    def wrongly_rejected
      calls.each_value.select do |call|
        call.kind.to_s.start_with?("rejected") && !call.kind.end_with?("RedisIPC::OverloadedError")
      end
    end

    # Returns the calls that ended as if their request never ran, but whose request ran. A batch is one call.
    def wrongly_denied
      ran = runs.to_h { |_, id| [Books.whole(id), true] }
      calls.each_value.select { |call| call.kind.to_s.match?(DENIED) && ran[call.id] }
    end

    # Returns the calls of one kind.
    def asked(how)
      calls.each_value.select { |call| call.id.split("/")[1] == how }
    end

    # Returns each run of a handler, with its question.
    def runs
      @runs ||= diaries.flat_map(&:ran)
    end

    # Returns how often handlers ran beyond once for each request.
    def reruns
      runs.map(&:last).tally.sum { |_, count| count - 1 }
    end

    private

    def read(worker)
      diary = Diary.new(worker, [], [], nil, [])
      Journal.read(worker.journal) { |*entry| note(diary, *entry) }
      diary
    end

    def note(diary, event, time, subject, detail)
      case event
      when "asked" then calls[subject] = Call.new(subject, time, [], [], diary.worker)
      when "ended" then calls[subject].ends << [time, detail]
      when "called_back" then calls[subject].called_back << time
      when "ran" then diary.ran << [time, subject]
      when "connected" then diary.connected << [time, subject == "true"]
      when "told" then diary.told << [time, subject]
      when "stats" then diary.stats = JSON.parse(subject, symbolize_names: true)
      end
    end
  end
end

# frozen_string_literal: true

require "securerandom"
require_relative "period"
require_relative "program"

module Chaos
  # An asking process. Some threads make one call after the other, and one makes calls at fixed times, whatever became
  # of the calls before. It keeps a journal of its own; the gem's counters are only compared with that. A subclass makes
  # the calls.
  class Asker < Program
    # A user's program would not ask again at once after an error, either.
    PAUSE = 0.02

    def initialize(settings)
      super
      @open = Queue.new
    end

    def start
      super
      @threads = Array.new(@settings[:threads]) { |index| Thread.new { ask_in_turn(index) } }
      @threads.concat(others)
      @threads << Thread.new { ask_steadily } << Thread.new { collect } if @settings[:interval]
      @threads.each { |thread| thread.abort_on_exception = true }
    end

    # Lets the open calls end. Calls that do not end are missing in the journal.
    def finish
      @stop = true
      deadline = now + @settings[:timeout] + 5
      @threads.each { |thread| thread.join([deadline - now, 0].max) }
      # Blocks of `Future#then` run in other threads.
      sleep 0.1
      super(timeout: 1)
    end

    private

    # A subclass defines `ask`, which returns the answer or a word on how the call ended, and `ask_later`, which returns
    # an object with such a `value`.

    # Starts the other threads: one makes the `poison` calls in turn, which kill the process that answers; the rest make
    # the `large` calls at once.
    def others
      deadly = @settings[:poison]&.then { |count| Thread.new { count.times { |number| ask_for_death(number) } } }
      large = @settings.fetch(:large, []).flat_map.with_index { |kind, index| ask_for_much(index, **kind) }
      [deadly, *large].compact
    end

    def ask_for_death(number)
      conclude(question("poison", number, poison: true), &method(:ask))
    end

    # Starts one thread for each large call. `question` and `answer` are sizes in bytes.
    def ask_for_much(kind, name:, times:, question: 0, answer: 0)
      Array.new(times) do |number|
        Thread.new do
          much = question(name, "#{kind}-#{number}", answer_size: answer, filler: "x" * question)
          conclude(much, &method(:ask))
        end
      end
    end

    def now
      Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end

    def questions(thread)
      (0..).each do |number|
        rest
        break if @stop

        yield question(thread, number)
      end
    end

    # With `pulse`, asks for that many seconds at the beginning of each Period, and is silent for the rest.
    def rest
      pulse = @settings[:pulse]
      sleep 0.02 until @stop || pulse.nil? || Period.pulse?(pulse)
    end

    def question(thread, number, **more)
      { id: "#{Process.pid}/#{thread}/#{number}", nonce: SecureRandom.hex(4), **more }.tap do |question|
        @journal.asked(question[:id])
      end
    end

    def ask_in_turn(thread, &call)
      call ||= method(:ask)
      questions(thread) do |question|
        kind = conclude(question, &call)
        sleep(kind == "answered" ? @settings[:pause] : PAUSE)
      end
    end

    def ask_steadily
      questions("steady") do |question|
        begin
          @open << [question, ask_later(question)]
        rescue RedisIPC::CallError => e
          conclude(question) { raise e }
        end
        sleep @settings[:interval]
      end
      @open << nil
    end

    def collect
      while (question, future = @open.pop)
        conclude(question) { value_of(future) }
      end
    end

    def conclude(question, &call)
      kind_of(question, &call).tap { |kind| @journal.ended(question[:id], kind) }
    end

    # Returns in a few words how a call ended.
    def kind_of(question)
      answer = yield question
      return answer if answer.is_a?(String)

      answer.values_at(:id, :echo) == question.values_at(:id, :nonce) ? "answered" : "mixed_up"
    rescue RedisIPC::TimeoutError => e
      "timed_out #{e.outcome}"
    rescue RedisIPC::OverloadedError
      "refused"
    rescue RedisIPC::CallError => e
      "failed #{e.class.name.split("::").last} #{e.outcome}"
    end
  end
end

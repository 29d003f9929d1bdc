# frozen_string_literal: true

module Bench
  # Measures a consumer of events in its own process, in the same way for all that are written in Ruby: it counts from
  # `warm_up` seconds after the first event on, for `seconds`, or until the last event. The other languages do the same.
  class ConsumerFigures
    # @param settings [Hash] `warm_up`, `seconds`, and `events`: how many there are
    def initialize(settings)
      @warm_up, @seconds, @events = settings.fetch_values(:warm_up, :seconds, :events)
    end

    # @param done [Integer] how many events are acknowledged by now
    # @return [Boolean] whether to go on
    def go_on?(done)
      return true if done.zero?

      now = clock
      @first ||= now
      note(done, now)
      done < @events && (@began.nil? || now - @began < @seconds)
    end

    # @return [String] for {Settings.parse}
    def to_s
      raise "all #{@events} events were handled within the warm-up: there must be more" unless @last

      done, at, cpu = @last
      Settings.format({ events: done - @done, seconds: at - @began, cpu_us: cpu - @cpu, rss_kib: rss_kib })
    end

    private

    def note(done, now)
      if @began.nil?
        @began, @done, @cpu = now, done, cpu_us if now - @first >= @warm_up # rubocop:disable Style/ParallelAssignment
      elsif done > @done
        @last = [done, now, cpu_us]
      end
    end

    def clock
      Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end

    def pids
      [Process.pid, *Dir["/proc/self/task/*/children"].flat_map { |path| children(path) }]
    end

    # Returns the children that a thread has started. It may have ended since it was listed.
    def children(path)
      File.read(path).split.map(&:to_i)
    rescue Errno::ENOENT, Errno::ESRCH
      []
    end

    # Reads the CPU clock of a process by the id that Linux gives it (clock_getcpuclockid(3)).
    def cpu_us
      pids.sum { |pid| Process.clock_gettime((~pid << 3) | 2, :microsecond) }
    end

    # The most that the process has had; of worker processes what they have had beside what they share is not known.
    def rss_kib
      pids.sum { |pid| File.read("/proc/#{pid}/status")[/^VmHWM:\s+(\d+)/, 1].to_i }
    end
  end
end

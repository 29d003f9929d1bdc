# frozen_string_literal: true

require "json"

module Chaos
  # What one process saw, a line an event, written at once: the lines of a process that is killed are still there.
  # Times are of the monotonic clock, which is one for all processes of a machine.
  class Journal
    def initialize(path)
      @file = File.open(path, File::WRONLY | File::APPEND | File::CREAT)
      @file.sync = true
    end

    # A call is about to be made.
    def asked(id)
      write("asked", id)
    end

    # A call has ended, in the way `kind` says.
    def ended(id, kind)
      write("ended", id, kind)
    end

    # The block of Future#then ran.
    def called_back(id)
      write("called_back", id)
    end

    # The handler ran.
    def ran(id)
      write("ran", id)
    end

    # What connected? says from now on.
    def connected(value)
      write("connected", value)
    end

    # The wall clock jumped.
    def stepped(seconds)
      write("stepped", seconds)
    end

    # on_error was told.
    def told(error)
      write("told", "#{error.class}: #{error.message}")
    end

    # What a process has left open in the end, if anything.
    def left(things)
      write("left", JSON.generate(things))
    end

    # Final figures, for comparison.
    def stats(stats)
      write("stats", JSON.generate(stats))
    end

    private

    def write(*words)
      words.insert(1, Process.clock_gettime(Process::CLOCK_MONOTONIC).round(6))
      @file.syswrite("#{words.join("\t").tr("\n", " ")}\n")
    end
  end
end

# frozen_string_literal: true

require "json"

module Chaos
  # Writes the events of one process, one a line and at once, so that the lines of a killed process remain. Times are of
  # the monotonic clock, which all processes of a machine share.
  class Journal
    # Yields what each line of a process's journal tells: the event, its time, its subject, and a detail.
    def self.read(path)
      File.foreach(path, chomp: true) do |line|
        event, time, subject, detail = line.split("\t", 4)
        yield event, time.to_f, subject, detail
      end
    end

    def initialize(path)
      @file = File.open(path, File::WRONLY | File::APPEND | File::CREAT)
      @file.sync = true
    end

    # Notes that a call is about to be made.
    def asked(id)
      write("asked", id)
    end

    # Notes that a call has ended, and how.
    def ended(id, kind)
      write("ended", id, kind)
    end

    # Notes that the block of `Future#then` ran.
    def called_back(id)
      write("called_back", id)
    end

    # Notes that the handler ran.
    def ran(id)
      write("ran", id)
    end

    # Notes that Redis has confirmed an event, which was sent at a time.
    def published(id, position, sent)
      write("published", id, "#{position} #{sent}")
    end

    # Returns the time of its lines.
    def now
      Process.clock_gettime(Process::CLOCK_MONOTONIC).round(6)
    end

    # Notes that publishing an event has failed. It may be in the stream all the same.
    def unpublished(id, error)
      write("unpublished", id, error.class)
    end

    # Notes that the handler of an event begins.
    def began(id, attempt, fence)
      write("began", id, "#{attempt} #{fence}")
    end

    # Notes where in the log the commit of an event is, and which of its transaction's it is.
    def committed(id, lsn, index)
      write("committed", id, "#{lsn} #{index}")
    end

    # Notes that so many rows of a large transaction were handled.
    def large(count)
      write("large", count)
    end

    # Notes that the handler of an event has ended well.
    def done(id)
      write("done", id)
    end

    # Notes a loss that `on_loss` was told of.
    def missed(loss)
      write("missed", loss.cause, JSON.generate(at_most: loss.at_most, exact: loss.exact?))
    end

    # Notes that `connected?` has changed.
    def connected(value)
      write("connected", value)
    end

    # Notes that the wall clock jumped.
    def stepped(seconds)
      write("stepped", seconds)
    end

    # Notes an error that `on_error` was told of.
    def told(error)
      write("told", "#{error.class}: #{error.message}")
    end

    # Notes what a process has left open in the end.
    def left(things)
      write("left", JSON.generate(things))
    end

    # Notes the final counters.
    def stats(stats)
      write("stats", JSON.generate(stats))
    end

    private

    def write(*words)
      words.insert(1, now)
      @file.syswrite("#{words.join("\t").tr("\n", " ")}\n")
    end
  end
end

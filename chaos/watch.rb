# frozen_string_literal: true

# Breaks Redis, the network and processes under load; this part runs in the workers.
module Chaos
  # Notes each change of `connected?`, and jumps of the wall clock.
  def self.watch(stream, journal)
    Thread.new do
      before = nil
      offset = wall_offset
      loop do
        connected = stream.connected?
        journal.connected(before = connected) unless connected == before
        journal.stepped(wall_offset - offset) && offset = wall_offset if (wall_offset - offset).abs > 60
        sleep 0.005
      end
    end
  end

  def self.wall_offset
    Time.now.to_f - Process.clock_gettime(Process::CLOCK_MONOTONIC)
  end
end

# frozen_string_literal: true

require "fileutils"
require "tmpdir"

# Breaks Redis, the network and processes under load, and checks each call.
module Chaos
  def self.now
    Process.clock_gettime(Process::CLOCK_MONOTONIC)
  end

  def self.eventually(timeout: 10, every: 0.005)
    deadline = now + timeout
    until (result = yield)
      raise "it did not happen within #{timeout} s" if now > deadline

      sleep every
    end
    result
  end
end

require_relative "books"
require_relative "period"
require_relative "places"
require_relative "protocols"
require_relative "promises"
require_relative "scene"
require_relative "stale_sentinel"
require_relative "clustered_place"
require_relative "distant_place"
require_relative "row"
require_relative "stepping_clock"
require_relative "table"
require_relative "events/table"
require_relative "live/table"
require_relative "wal/table"

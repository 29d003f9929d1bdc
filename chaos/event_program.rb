# frozen_string_literal: true

require_relative "program"

module Chaos
  # A process of the load of events. A subclass defines `start` and `finish`.
  class EventProgram < Program
    STREAM = "house"
    GROUP = "billing"
  end
end

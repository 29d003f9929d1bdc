# frozen_string_literal: true

require_relative "books"
require_relative "loads"
require_relative "row"
require_relative "scene"

module Chaos
  # Rows in which publishers publish events, and consumers handle them.
  module Events
    # A fault.
    # * `place`, `quick` (with an order by key), `outage`, `settle` and `action`: as those of Chaos::Fault.
    # * `load`: what comes to the consumers (see Load).
    # * `consumers`: how many processes there are; `lease` of theirs in seconds.
    # * `settings` of the processes by role, beside those of the load (see Scene#usual).
    # * `pause`: the seconds that some keys may stand still beyond those of the command line, because a process died.
    # * `losses`: the causes of losses that it may have; `certain`: one is told; `exact`: their number is right.
    # * `dead`: how many events are given up on.
    # * `once`: no event is handled twice.
    # * `one_owner`: with an order, no process begins an event of a key after another one has begun one.
    Fault = Struct.new(:name, :place, :quick, :outage, :settle, :load, :consumers, :lease, :settings, :pause, :losses,
                       :certain, :exact, :dead, :once, :one_owner, :action, keyword_init: true) do
      def order
        load.order
      end
    end

    # All faults.
    module Table
      extend AnyTable

      DEFAULTS = { place: -> { Place.new }, quick: false, outage: false, settle: 2, consumers: 2, lease: 1,
                   settings: {}, pause: 0, losses: [], certain: false, exact: false, dead: 0, once: false,
                   one_owner: false }.freeze

      # The seconds in which service must be back.
      WITHIN = Chaos::Table::WITHIN

      class << self
        # Adds a fault for each of some loads.
        # @param name [String]
        # @param loads [Array<String>] their names
        # @param more [Hash] the values that differ from DEFAULTS
        def fault(name, loads: Loads::USUAL, **more, &action)
          Loads.named(loads).each { |load| add("events, #{load.name}: #{name}", load, { **DEFAULTS, **more }, action) }
        end

        # Runs one fault.
        # @param within [Float] the seconds in which service must be back
        # @param settle [Float, nil] seconds, in place of the fault's own
        # @return [Row, NotRun]
        def run(fault, within: WITHIN, settle: nil)
          settle ||= fault.settle + fault.pause
          staging(fault, Scene, settle) { |scene| Row.new(scene, scene.books, within: within) }
        end

        private

        def add(name, load, values, action)
          # The suite has no time for the others.
          quick = values[:quick] && load.name == "order key"
          pause = values[:pause] + load.pause
          faults << Fault.new(**values, name: name, load: load, quick: quick, pause: pause, action: action)
        end
      end
    end
  end
end

Dir[File.join(__dir__, "faults", "*.rb")].each { |file| require file }

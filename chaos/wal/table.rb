# frozen_string_literal: true

require_relative "place"
require_relative "replicated_place"
require_relative "row"
require_relative "scene"
require_relative "small_place"

module Chaos
  # Rows in which writers commit rows to PostgreSQL, and consumers handle them as its log has them.
  module Wal
    BY_KEY = { order: [:key, { by: :key }] }.freeze
    # The loads, by their names: the order of the consumers, and settings of the processes.
    LOADS = {
      "order key" => { consumer: { options: BY_KEY } },
      "order source" => { publisher: { pause: 0.05 } },
      "order none" => {},
      "order key, batches" => { consumer: { options: { **BY_KEY, batch: { size: 20, within: 0.05 } } } },
      "order key, handlers fail" => {
        consumer: { options: BY_KEY, failing: (5..800).step(20).map { |number| "3/#{number}" } }
      },
      # Some events are always under way.
      "order key, slow handlers" => {
        consumer: { options: { **BY_KEY, concurrency: { threads: 6 } }, slow_work: 0.4,
                    slow: (7..800).step(10).map { |number| "3/#{number}" } }
      }
    }.to_h do |name, settings|
      order = name[/\Aorder (\w+)/, 1]
      [name, Events::Load.new(name: name, order: order, **Events::Loads::DEFAULTS, settings: settings)]
    end.freeze

    # All faults.
    module Table
      extend AnyTable

      DEFAULTS = { **Events::Table::DEFAULTS, place: -> { Place.new }, consumers: 1 }.freeze
      USUAL = ["order key", "order source"].freeze
      # The seconds in which service must be back.
      WITHIN = 1.0

      class << self
        # Adds a fault for each of some loads.
        # @param name [String]
        # @param loads [Array<String>] their names
        # @param repeats [Boolean] whether events may run again, though their handlers did not fail
        # @param more [Hash] the values that differ from DEFAULTS
        def fault(name, loads: USUAL, repeats: false, **more, &action)
          loads.each do |one|
            load = LOADS.fetch(one)
            own = { name: "wal, #{one}: #{name}", load: load, quick: more[:quick] && one == "order key",
                    once: !repeats && !one.end_with?("fail") }
            faults << Events::Fault.new(**DEFAULTS, **more, **own, action: action)
          end
        end

        # Runs one fault.
        # @param within [Float] the seconds in which service must be back
        # @param settle [Float, nil] seconds, in place of the fault's own
        # @return [Row, NotRun]
        def run(fault, within: WITHIN, settle: nil)
          settle ||= fault.settle + fault.pause
          staging(fault, Scene, settle) { |scene| Row.new(scene, scene.books, within: within) }
        end
      end
    end
  end
end

Dir[File.join(__dir__, "faults", "*.rb")].each { |file| require file }

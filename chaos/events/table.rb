# frozen_string_literal: true

require_relative "books"
require_relative "row"
require_relative "scene"

module Chaos
  # Rows in which publishers publish events, and consumers handle them.
  module Events
    # A fault.
    # * `place`, `quick` (with an order by key), `outage`, `settle` and `action`: as those of Chaos::Fault.
    # * `order` of the consumers: "none", "key" or "source".
    # * `consumers`: how many processes there are; `lease` of theirs in seconds.
    # * `settings` of the processes by role (see Scene#usual).
    # * `pause`: the seconds that some keys may stand still beyond those of the command line, because a process died.
    # * `losses`: the causes of losses that it may have; `certain`: one is told; `exact`: their number is right.
    # * `dead`: how many events are given up on.
    # * `once`: no event is handled twice.
    Fault = Struct.new(:name, :place, :quick, :outage, :settle, :order, :consumers, :lease, :settings, :pause, :losses,
                       :certain, :exact, :dead, :once, :action, keyword_init: true)

    # All faults.
    module Table
      DEFAULTS = { place: -> { Place.new }, quick: false, outage: false, settle: 2, order: "key", consumers: 2,
                   lease: 1, settings: {}, pause: 0, losses: [], certain: false, exact: false, dead: 0,
                   once: false }.freeze
      ORDERS = %w[none key].freeze

      class << self
        def faults
          @faults ||= []
        end

        # Adds a fault for each of some orders.
        # @param name [String]
        # @param orders [Array<String>]
        # @param more [Hash] the values that differ from DEFAULTS
        def fault(name, orders: ORDERS, **more, &action)
          orders.each do |order|
            # The suite has no time for both.
            quick = more.fetch(:quick, false) && order == "key"
            faults << Fault.new(**DEFAULTS, **more, name: "events, order #{order}: #{name}", order: order,
                                                    quick: quick, action: action)
          end
        end

        # Runs one fault.
        # @param within [Float] the seconds in which service must be back
        # @param settle [Float, nil] seconds, in place of the fault's own
        # @return [Row, NotRun]
        def run(fault, within: 1.0, settle: nil)
          settle ||= fault.settle + fault.pause
          Chaos::Table.staging(fault, Scene, settle) do |scene|
            Row.new(scene, Books.new(scene.workers), within: within)
          end
        end
      end
    end
  end
end

Dir[File.join(__dir__, "faults", "*.rb")].each { |file| require file }

# frozen_string_literal: true

require_relative "row"
require_relative "sources"

module Chaos
  # Rows in which the subscription of a consumer breaks. Less than what is missing must not be told.
  module Live
    # What faults happen to.
    # * `place`: makes the servers.
    # * `source`: what is published and consumed.
    # * `words` of the consumer, beside the usual ones (see Scene#consume).
    # * `bytes` of a message at least, and `pace`: the seconds between two.
    Stage = Struct.new(:place, :source, :words, :bytes, :pace, keyword_init: true) do
      def initialize(words: {}, bytes: 0, pace: 0.001, **more)
        super
      end
    end

    # A fault.
    # * `stage`; `quick` and `action` as those of Chaos::Fault. The action runs several times.
    # * `times` it happens under load, and `calm` times while nothing is published.
    # * `breaks`: it breaks a connection each time.
    # * `counted`: what is told has a bound, because the servers count all of it.
    # * `lossless`: nothing is lost, and nothing told.
    # * `within`: the seconds in which messages must come again.
    # * `again`: messages may come again.
    # * `gap`: the most seconds without a message of a line.
    # * `random`: it is one of those that happen at random.
    Fault = Struct.new(:name, :stage, :quick, :times, :calm, :breaks, :counted, :lossless, :within, :again, :gap,
                       :random, :action, keyword_init: true)

    # All faults.
    module Table
      extend AnyTable

      # The seconds in which messages must come again after Redis is back.
      WITHIN = 0.5
      DEFAULTS = { quick: false, times: 8, calm: 2, breaks: true, counted: true, lossless: false, within: WITHIN,
                   random: true }.freeze

      class << self
        # Adds a fault.
        # @param more [Hash] the values that differ from DEFAULTS
        def fault(name, **more, &action)
          faults << Fault.new(name: "live: #{name}", action: action, **DEFAULTS, **more)
        end

        # Runs one fault.
        # @param within [Float, nil] seconds, in place of the fault's own
        # @param more [Hash] `times` and `calm`, in place of the fault's own
        # @return [Row, NotRun]
        def run(fault, within: nil, settle: nil, **more)
          # The gem is only loaded where a row runs.
          require_relative "scene"
          fault = Fault.new(**fault.to_h, **more)
          staging(fault, Scene, settle || 0) { |scene| Row.new(fault, scene.outcomes, within: within) }
        end
      end
    end
  end
end

Dir[File.join(__dir__, "faults", "*.rb")].each { |file| require file }

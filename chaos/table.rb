# frozen_string_literal: true

require_relative "any_table"

module Chaos
  # A fault.
  # * `place` makes the servers.
  # * `quick`: whether it is part of the suite.
  # * `outage`: hardly anything can be done meanwhile, so hardly any processor time may be used.
  # * `timeout` of the calls, and `work` of a handler, in seconds.
  # * `environment` of the workers, and their `settings` by role (see Scene#add).
  # * `protocol` of the load (see Protocols).
  # * `calm`: the load before the fault is lighter than usual.
  # * `promise`: what must hold beside the promises of every row (see Promises).
  # * `tolerated`: why calls may fail after the fault, too.
  # * `settle`: the seconds that the load goes on after it.
  # * `lane`: the side that it breaks, `:server` (or the network) or `:processes`.
  # * `alone`: why bin/oracle cannot run it beside others.
  # * `action` runs in the Scene, and returns when Redis is back.
  Fault = Struct.new(:name, :place, :quick, :outage, :timeout, :work, :environment, :settings, :protocol, :calm,
                     :tolerated, :promise, :settle, :lane, :alone, :action, keyword_init: true)

  # All faults.
  module Table
    extend AnyTable

    DEFAULTS = { place: -> { Place.new }, quick: false, outage: true, timeout: 2, work: 0.001, environment: {},
                 settings: {}, protocol: Protocols::Streams, settle: 2.5, lane: :server }.freeze

    # The seconds in which service must be back.
    WITHIN = 1.0

    # The inbox of the answerers.
    INBOX = "house:inbox:answerer"

    class << self
      # Adds a fault.
      # @param name [String]
      # @param more [Hash] the values that differ from DEFAULTS
      def fault(name, **more, &action)
        faults << Fault.new(name: name, action: action, **DEFAULTS, **more)
      end

      # @return [Integer] bytes
      def megabytes(count)
        count * 1024 * 1024
      end

      # Runs one fault.
      # @param within [Float] the seconds in which service must be back
      # @param settle [Float, nil] seconds, in place of the fault's own
      # @return [Row, NotRun]
      def run(fault, within: WITHIN, settle: nil)
        settle ||= fault.settle
        staging(fault, Scene, settle) { |scene| Row.new(scene, Books.new(scene.workers), within: within) }
      end
    end
  end
end

Dir[File.join(__dir__, "faults", "*.rb")].each { |file| require file }

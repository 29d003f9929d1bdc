# frozen_string_literal: true

module Chaos
  # Something that goes wrong. `place` makes where it happens; `quick` ones are part of the suite; during an `outage`
  # hardly anything can be done, so hardly any processor time may be used.
  Fault = Struct.new(:name, :place, :quick, :outage, :timeout, :work, :environment, :tolerated, :settle, :action,
                     keyword_init: true)

  # All faults.
  module Table
    class << self
      def faults
        @faults ||= []
      end

      # Adds a fault; the block runs in the Scene and returns when Redis is back.
      # @param tolerated [String, nil] why calls may fail after the fault, too
      def fault(name, place: -> { Place.new }, quick: false, outage: true, timeout: 2, work: 0.001, environment: {},
                tolerated: nil, settle: 2.5, &action)
        faults << Fault.new(name: name, place: place, quick: quick, outage: outage, timeout: timeout, work: work,
                            environment: environment, tolerated: tolerated, settle: settle, action: action)
      end

      # Runs one fault. @return [Row]
      def run(fault, within: 1.0, settle: nil)
        Dir.mktmpdir("redis_ipc_chaos") do |folder|
          scene = Scene.new(fault, folder)
          scene.start
          scene.happen
          sleep(settle || fault.settle)
          dead = scene.dead_letters
          ended = scene.finish
          Row.new(fault, scene, Books.new(scene.workers), within: within, ended: ended, dead: dead)
        rescue Scene::Impossible => e
          NotRun.new(fault, e.message)
        ensure
          scene&.stop
        end
      end
    end
  end
end

Dir[File.join(__dir__, "faults", "*.rb")].each { |file| require file }

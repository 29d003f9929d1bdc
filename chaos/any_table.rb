# frozen_string_literal: true

module Chaos
  # What the table of faults of every kind of load has.
  module AnyTable
    # Returns all faults.
    def faults
      @faults ||= []
    end

    private

    # Lets a fault happen in a scene of a class. The block makes the row of what has happened.
    # @param settle [Float] the seconds that the load goes on after it
    # @return [AnyRow, Live::Row, NotRun]
    def staging(fault, kind, settle)
      Dir.mktmpdir("redis_ipc_chaos") do |folder|
        scene = kind.new(fault, folder)
        scene.start
        scene.happen
        sleep settle
        scene.finish
        yield scene
      rescue Scene::Impossible => e
        NotRun.new(fault, e.message, [])
      rescue StandardError => e
        NotRun.broken(fault, e)
      ensure
        scene&.stop
      end
    end
  end
end

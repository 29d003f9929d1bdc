# frozen_string_literal: true

require "tmpdir"
require_relative "scene"
require_relative "table"

module Chaos
  module Live
    # Faults at random, by a seed. What they happen to is kept, so that one finds what another has left.
    class Storm
      # One of so many faults happens while nothing is published.
      CALM = 8

      # @param faults [Array<Fault>] of which one happens at a time
      # @param count [Integer]
      # @param seed [Integer]
      def initialize(faults, count:, seed:)
        @faults = faults
        @count = count
        @random = Random.new(seed)
        @scenes = {}
        @outcomes = Hash.new { |all, fault| all[fault] = [] }
        @broken = []
      end

      # Lets all of them happen.
      # @yieldparam name [String] of each fault
      # @return [Array<Row, NotRun>] one for each fault that has happened, and for each that went wrong itself
      def run
        Dir.mktmpdir("redis_ipc_chaos") do |folder|
          @count.times do
            fault = @faults.sample(random: @random)
            yield fault.name if block_given?
            happen(fault, folder)
          end
        end
        @outcomes.map { |fault, outcomes| Row.new(fault, outcomes) } + @broken
      ensure
        @scenes.each_value(&:stop)
      end

      private

      def happen(fault, folder)
        # Each fault has numbers of its own: how many of these it takes depends on time.
        random = Random.new(@random.rand(1 << 32))
        calm = @random.rand(CALM).zero? && fault.calm.positive?
        scene = @scenes[fault.stage] ||= Scene.new(fault, folder).tap(&:start)
        scene.random = random
        @outcomes[fault] << scene.once(fault, calm: calm)
      rescue StandardError => e
        @broken << NotRun.broken(fault, e)
        @scenes.delete(fault.stage)&.stop
      end
    end
  end
end

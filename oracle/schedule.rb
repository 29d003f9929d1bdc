# frozen_string_literal: true

module Oracle
  # Which faults happen one after the other, in two lanes that do not wait for each other: what happens to the server
  # and the network, and what happens to the processes. The seed decides on everything.
  class Schedule
    # One fault: how long to wait before it, and the seed of what it chooses itself.
    Step = Struct.new(:pause, :fault, :seed)
    # The most seconds between two faults of a lane.
    PAUSE = 3.0
    LANES = %i[server processes].freeze

    def initialize(seed)
      @seed = seed
    end

    # The faults that happen, as many as there is time for.
    # @yieldparam step [Step]
    def run(lane, deadline)
      steps(lane).lazy.take_while { |step| Chaos.now + step.pause < deadline }.each do |step|
        sleep step.pause
        yield step
      end
    end

    # Without end.
    # @param lane [Symbol] one of LANES
    # @return [Enumerator<Step>]
    def steps(lane)
      random = Random.new((@seed * LANES.size) + LANES.index(lane))
      Enumerator.new do |list|
        loop { list << Step.new(random.rand(PAUSE), faults(lane).sample(random: random), random.rand(2**32)) }
      end
    end

    # The faults of a lane, in an order that does not depend on how files are found.
    def faults(lane)
      Chaos::Table.faults.select { |fault| fault.lane == lane && !fault.alone }.sort_by(&:name)
    end
  end
end

# frozen_string_literal: true

module Oracle
  # The order of faults in two lanes that do not wait for each other: faults of the server and the network, and faults
  # of the processes. The seed decides on everything.
  class Schedule
    # One fault, the pause before it, and the seed of its own choices.
    Step = Struct.new(:pause, :fault, :seed)
    # The longest pause between two faults of a lane, in seconds.
    PAUSE = 3.0
    LANES = %i[server processes].freeze

    def initialize(seed)
      @seed = seed
    end

    # Yields the faults one after the other, as many as there is time for.
    # @yieldparam step [Step]
    def run(lane, deadline)
      steps(lane).lazy.take_while { |step| Chaos.now + step.pause < deadline }.each do |step|
        sleep step.pause
        yield step
      end
    end

    # Lists the faults of a lane without end.
    # @param lane [Symbol] one of LANES
    # @return [Enumerator<Step>]
    def steps(lane)
      random = Random.new((@seed * LANES.size) + LANES.index(lane))
      Enumerator.new do |list|
        loop { list << Step.new(random.rand(PAUSE), faults(lane).sample(random: random), random.rand(2**32)) }
      end
    end

    # Returns the faults of a lane in an order that does not depend on that of the files.
    def faults(lane)
      Chaos::Table.faults.select { |fault| fault.lane == lane && !fault.alone }.sort_by(&:name)
    end
  end
end

# frozen_string_literal: true

module Chaos
  # A wall clock jumps: Redis's, or that of all other processes.
  module Table
    clock = SteppingClock.new
    steps = { "an hour ahead" => 3600, "an hour back" => -3600 }

    # Handlers hold requests for about a lease. The reply streams expire, so some calls are not answered. The load goes
    # on for longer than all need to read the clock again.
    fault "Redis's clock steps a minute ahead, 10 times",
          place: -> { ClockedPlace.new }, outage: false, work: 0.4, calm: true, settle: 12,
          settings: { asker: { threads: 3, interval: nil }, answerer: { options: { consumer: { lease: 0.6 } } } },
          promise: Promises::NothingRunsTwice.new do
      1.upto(10) do |minutes|
        place.clock.step(minutes * 60)
        stand 1
      end
    end

    usual = lambda do
      clock.start
      Place.new
    end
    steps.each do |name, step|
      fault "the processes' clocks step #{name}", place: usual, outage: false, environment: clock.environment,
                                                  alone: "the workers are started with its clock" do
        clock.step(step)
        stand 1.5
        raise "the clock did not step" unless workers.all?(&:clock_stepped?)
      ensure
        clock.remove
      end

      fault "Redis's clock steps #{name}", place: -> { ClockedPlace.new }, quick: step.negative?, outage: false,
                                           timeout: 1, settle: 12 do
        before = redis("TIME").first.to_i
        place.clock.jump(step)
        stand 0.1
        raise "the clock did not step" unless ((redis("TIME").first.to_i - before) - step).abs < 60
      end
    end
  end
end

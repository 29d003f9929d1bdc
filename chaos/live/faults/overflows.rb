# frozen_string_literal: true

module Chaos
  module Live
    # A consumer is too slow.
    module Table
      slow = { breaks: false, calm: 0 }
      room = 200

      { drop_oldest: "the oldest are dropped", drop_newest: "the newest are dropped" }.each do |overflow, what|
        words = { prefetch: room, overflow: overflow }
        stage = Stage.new(place: -> { ProxiedPlace.new }, source: Channel, words: words)
        fault("handlers of 20 ms for 0.3 to 0.8 s: #{what}", stage: stage, **slow, within: 6) do
          slow_down(0.02) { stand some(0.3..0.8) }
        end
      end

      blocked = Stage.new(place: -> { Place.new(client_output_buffer_limit: "pubsub 1mb 1mb 1") }, source: Channel,
                          words: { prefetch: room, overflow: :block }, bytes: 50_000, pace: 0.005)
      fault("handlers of 1 s until Redis cuts the subscription off", stage: blocked, calm: 0, within: 3) do
        slow_down(1) { Chaos.eventually { subscribers(server).zero? } }
      end
    end
  end
end

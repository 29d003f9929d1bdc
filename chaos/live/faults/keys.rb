# frozen_string_literal: true

module Chaos
  module Live
    # The subscription to what happens to keys breaks.
    module Table
      told = { notify_keyspace_events: "Kxe" }
      { "expired" => ExpiringKeys, "evicted" => EvictedKeys }.each do |event, source|
        keys = { stage: Stage.new(place: -> { ProxiedPlace.new(**told) }, source: source) }

        fault("keys, #{event}: CLIENT KILL of the subscription", **keys) { close_subscriptions }

        fault("keys, #{event}: half-open for 3.2 to 4 s", **keys) { misbehave(some(3.2..4.0), :drop) }
      end
    end
  end
end

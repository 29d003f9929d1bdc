# frozen_string_literal: true

module Chaos
  module Events
    # The network between one of the consumers and Redis fails for longer than a lease. The publishers and the other
    # consumers have Redis all the time.
    module Table
      parted = { place: -> { PartedPlace.new }, consumers: 3, pause: 2.5, one_owner: true }

      { "cut off from Redis" => :both, "that hears nothing of Redis" => :server,
        "that Redis hears nothing of" => :client }.each do |what, silenced|
        fault "a consumer #{what} for 2.5 leases", loads: Loads::EVERY, **parted do
          place.proxy.behave(:drop, silenced)
          stand 2.5
          place.proxy.behave(:pass)
        end
      end

      # It has more than a lease of work at hand, and leaves it when its lease is over.
      behind = { publisher: { pause: 0.05 }, consumer: { work: 0.015 } }
      fault "a consumer that is behind cut off from Redis for 2.5 leases",
            loads: ["order key"], **parted, settings: behind, pause: 6 do
        while_paused { stand 4 }
        place.proxy.behave(:drop)
        stand 2.5
        place.proxy.behave(:pass)
      end
    end
  end
end

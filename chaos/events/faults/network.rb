# frozen_string_literal: true

module Chaos
  module Events
    # The network between one of the consumers and Redis fails for longer than a lease. The publishers and the other
    # consumers have Redis all the time.
    module Table
      parted = { place: -> { PartedPlace.new }, loads: Loads::EVERY, consumers: 3, pause: 2.5 }

      { "cut off from Redis" => :both, "that hears nothing of Redis" => :server,
        "that Redis hears nothing of" => :client }.each do |what, silenced|
        fault "a consumer #{what} for 2.5 leases", **parted do
          place.proxy.behave(:drop, silenced)
          stand 2.5
          place.proxy.behave(:pass)
        end
      end
    end
  end
end

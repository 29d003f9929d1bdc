# frozen_string_literal: true

module Chaos
  # The network between the processes and Redis fails.
  module Table
    proxied = -> { ProxiedPlace.new }

    fault "proxy: 100 ms later, both ways, for 2 s", place: proxied, outage: false do
      place.proxy.behave(:delay, 0.1)
      stand 2
      place.proxy.behave(:pass)
    end

    fault "proxy: nothing gets through for 3 s", place: proxied, quick: true do
      place.proxy.behave(:drop)
      stand 3
      place.proxy.behave(:pass)
    end

    fault "proxy: every connection cut, 15 times", place: proxied, outage: false do
      again_and_again(15, every: 0.1) { place.proxy.cut }
    end

    fault "proxy: what Redis says ends (half-closed)", place: proxied, outage: false do
      again_and_again(3, every: 0.3) { place.proxy.half_close(:server) }
    end

    fault "proxy: what clients say ends (half-closed)", place: proxied, outage: false do
      again_and_again(3, every: 0.3) { place.proxy.half_close(:client) }
    end

    fault "proxy: byte by byte for 2 s", place: proxied, outage: false do
      place.proxy.behave(:dribble)
      stand 2
      place.proxy.behave(:pass)
    end

    fault "half-open: the link is down for 4 s", place: -> { DistantPlace.new },
                                                 alone: "needs a network of its own" do
      place.link("down")
      stand 4
      place.link("up")
    end
  end
end

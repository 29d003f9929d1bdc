# frozen_string_literal: true

module Chaos
  # A node of a Redis Cluster fails. Service is back when another node serves.
  module Table
    clustered = { place: -> { ClusteredPlace.new }, alone: "needs a cluster" }

    fault "cluster: the inbox's slot moves, 3 times", **clustered, outage: false do
      again_and_again(3, every: 0.5) { place.move_inbox }
    end

    fault "cluster: the inbox's master killed", **clustered do
      lost = place.master
      lost.kill
      place.await_master_after(lost)
    end

    fault "cluster: the inbox's master hangs", **clustered do
      lost = place.master
      Process.kill(:STOP, lost.pid)
      place.await_master_after(lost)
    end
  end
end

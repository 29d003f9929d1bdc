# frozen_string_literal: true

module Chaos
  module Events
    # Something happens to one of the streams over which the events are spread, or to its node.
    module Table
      spread = { loads: Loads::PARTITIONED }
      one = "#{Scene::STREAM}:3".freeze
      other = "#{Scene::STREAM}:5".freeze

      fault "one of the streams deleted", **spread, losses: %i[flushed], certain: true, pause: 1 do
        redis "DEL", one
      end

      in_cluster = { **spread, place: -> { ClusteredPlace.new } }
      fault "cluster: the slots of two partitions and of the lanes move, 3 times each", **in_cluster do
        again_and_again(3, every: 0.3) { [one, other, Scene::HASH].each { |key| move(key) } }
      end

      lost = { outage: true, pause: 2, losses: %i[rolled_back flushed] }
      fault "cluster: the master of a partition killed", **in_cluster, **lost do
        lose_master_of(one)
      end
    end
  end
end

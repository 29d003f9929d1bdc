# frozen_string_literal: true

module Chaos
  module Events
    # Keys are deleted, replaced or trimmed. Redis itself is there all the time.
    module Table
      flushed = { losses: %i[flushed], certain: true }

      fault "FLUSHALL", loads: Loads::EVERY, **flushed, pause: 1, quick: true do
        redis "FLUSHALL"
      end

      fault "FLUSHALL 5 times, one a second", **flushed, pause: 1 do
        again_and_again(4, every: 1) { redis "FLUSHALL" }
        redis "FLUSHALL"
      end

      fault "the stream deleted", **flushed, pause: 1 do
        redis "DEL", Scene::STREAM
      end

      fault "the stream replaced by a string for 1.5 s", **flushed, pause: 1 do
        redis "SET", Scene::STREAM, "no stream"
        stand 1.5
        redis "DEL", Scene::STREAM
      end

      fault "the group destroyed (XGROUP DESTROY), 5 times", loads: Loads::UNORDERED, pause: 1 do
        again_and_again(5, every: 0.3) { redis "XGROUP", "DESTROY", Scene::STREAM, Scene::GROUP }
      end

      # All that the stream has is delivered again.
      fault "the group moved back to the beginning (XGROUP SETID), 3 times",
            loads: ["order none", "order none, exactly_once"], pause: 1.5 do
        again_and_again(3, every: 0.5) { redis "XGROUP", "SETID", Scene::STREAM, Scene::GROUP, 0 }
      end

      fault "the consumers deleted (DELCONSUMER), 5 times", loads: Loads::UNORDERED, pause: 1 do
        again_and_again(5, every: 0.3) do
          redis("XINFO", "CONSUMERS", Scene::STREAM, Scene::GROUP).each do |consumer|
            redis "XGROUP", "DELCONSUMER", Scene::STREAM, Scene::GROUP, consumer.each_slice(2).to_h["name"]
          end
        end
      end

      fault "the hash of the lanes deleted, 3 times", loads: Loads::ORDERED, pause: 1 do
        again_and_again(3, every: 0.5) { redis "DEL", Scene::HASH }
      end

      fault "the hash of the lanes replaced by a string for 1.5 s", loads: Loads::ORDERED, pause: 2 do
        redis "SET", Scene::HASH, "no hash"
        stand 1.5
        redis "DEL", Scene::HASH
      end

      # Paused, it holds what it has read, and is behind with the rest.
      behind = { consumers: 1, losses: %i[trimmed], certain: true, pause: 1 }
      little = { consumer: { options: { prefetch: 1 } } }
      fault "XTRIM while the consumer is paused", **behind, settings: little do
        again_and_again(2, every: 0.5) { trim_behind }
      end

      fault "XTRIM while both consumers are paused", **behind, consumers: 2, settings: little do
        again_and_again(2, every: 0.5) { trim_behind }
      end

      fault "XTRIM while the consumer is stopped (SIGSTOP)", **behind, exact: true, lease: 5 do
        while_stopped(consumers) do
          stand 1.5
          trim(100)
          stand 0.5
        end
      end

      # It reads on all the time, and is behind because its handlers are slow: it gets 1,000 events/s, and handles 750.
      slow = { consumer: { work: 0.004, options: { prefetch: 1 } } }
      fault "XTRIM while the consumer is slow, 10 times", **behind, settings: slow, settle: 1, pause: 3 do
        again_and_again(10, every: 0.2) { trim(50) }
      end
    end
  end
end

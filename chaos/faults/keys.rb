# frozen_string_literal: true

module Chaos
  # Keys are deleted or replaced. Redis itself is there all the time, so service counts from that moment.
  module Table
    fault "FLUSHALL", quick: true do
      redis "FLUSHALL"
    end

    fault "FLUSHALL 5 times, one a second", outage: false do
      again_and_again(4, every: 1) { redis "FLUSHALL" }
      redis "FLUSHALL"
    end

    fault "the inbox deleted" do
      redis "DEL", INBOX
    end

    fault "the inbox renamed" do
      redis "RENAME", INBOX, "elsewhere"
    end

    fault "the inbox replaced by a string for 1.5 s", quick: true do
      redis "SET", INBOX, "no stream"
      stand 1.5
      redis "DEL", INBOX
    end

    fault "the reply streams deleted", quick: true do
      redis("KEYS", "house:replies:*").each { |key| redis "DEL", key }
    end

    fault "the reply streams replaced for 1.5 s" do
      keys = redis("KEYS", "house:replies:*")
      keys.each { |key| redis "SET", key, "no stream" }
      stand 1.5
      keys.each { |key| redis "DEL", key }
    end

    fault "the group destroyed (XGROUP DESTROY)", quick: true do
      redis "XGROUP", "DESTROY", INBOX, "answerer"
    end

    fault "the consumers deleted (DELCONSUMER)", outage: false do
      again_and_again(5, every: 0.1) do
        redis("XINFO", "CONSUMERS", INBOX, "answerer").each do |consumer|
          redis "XGROUP", "DELCONSUMER", INBOX, "answerer", consumer.each_slice(2).to_h["name"]
        end
      end
    end

    # Half of the requests that handlers hold are past their deadline before they are answered.
    held = { outage: false, timeout: 0.3, work: 0.2, calm: true, settle: 3,
             settings: { asker: { threads: 2, pause: 0.02, interval: 0.3 } },
             tolerated: "more is asked than is done in time" }

    fault "the group destroyed 10 times while handlers are slow", **held, quick: true do
      again_and_again(10, every: 0.3) { redis "XGROUP", "DESTROY", INBOX, "answerer" }
      stand 1
    end

    fault "the consumers deleted 10 times while handlers are slow", **held do
      again_and_again(10, every: 0.3) do
        redis("XINFO", "CONSUMERS", INBOX, "answerer").each do |consumer|
          redis "XGROUP", "DELCONSUMER", INBOX, "answerer", consumer.each_slice(2).to_h["name"]
        end
      end
      stand 1
    end

    fault "the presence deleted and replaced for 1.5 s", outage: false do
      redis "SET", "house:instances", "no sorted set"
      stand 1.5
      redis "DEL", "house:instances"
    end

    fault "SCRIPT FLUSH, 10 times", outage: false do
      again_and_again(10, every: 0.05) { redis "SCRIPT", "FLUSH" }
    end
  end
end

# frozen_string_literal: true

require "json"

# Writes the records by which instances say what they do (docs/protocol.md), with a plain client.
module Records
  # A histogram of values in seconds, as a record has it.
  def self.histogram(*values)
    indices = values.map { |value| (Math.log2(value) * 8).ceil - 1 }
    first, last = indices.minmax
    counts = indices.tally
    { scale: 3, unit: "s", count: values.size, sum: values.sum, min: values.min, max: values.max, zero: 0,
      offset: first || 0, buckets: first ? (first..last).map { |index| counts.fetch(index, 0) } : [] }
  end

  def now_ms
    seconds, micros = redis.time
    (seconds * 1_000) + (micros / 1_000)
  end

  # Writes the record of an instance, and its rows in the index.
  def write_record(stream, group, instance, kind: "request_reply", **more)
    now = now_ms
    record = { v: 1, kind: kind, stream: stream, group: group, instance: instance, host: "web-7", pid: 15_752,
               gem: RedisIPC::VERSION, started: now - 60_000, written: now, **more }
    redis.set("#{stream}:stats:#{group}:#{instance}", JSON.generate(record), px: 600_000)
    redis.zadd("#{stream}:stats", [[now + 600_000, "#{group}:#{instance}"], [now + 604_800_000, group]])
  end

  # Shows that an instance is alive, with the lease if it serves.
  def show(stream, group, instance, lease: 2_000, host: "web-7")
    member = "#{group}:#{instance}:#{host}:15752"
    rows = lease ? [member, "#{member}:#{lease}"] : [member]
    redis.zadd("#{stream}:instances", rows.map { |row| [now_ms, row] })
  end
end

# frozen_string_literal: true

# What the project wants of events.
module Bench
  best_loop = ->(f) { f.best("none_200b", EventCases::RUBY_LOOPS, :events_s, :max) }
  of_bound = ->(f, peer) { f.quotient(f.of("wait_5ms", peer, :events_s), 50 * 200) }

  # The targets of events. That of long runs is bin/soak's.
  EVENT_TARGETS = [
    ["200 B, one thread, events/s, beside the best plain Ruby loop that acknowledges 100 together", :least, 2.0, "x",
     ->(f) { f.quotient(f.of("none_200b", "thread", :events_s), best_loop.call(f)) }],
    ["200 B, batches of 500, one thread, events/s, beside the same", :least, 3.0, "x",
     ->(f) { f.quotient(f.of("none_200b_batch", "thread", :events_s), best_loop.call(f)) }],
    ["200 B, order by key, CPU per event, beside no order", :most, 1.25, "x",
     ->(f) { f.quotient(f.of("key_200b", "thread", :cpu_us), f.of("none_200b", "thread", :cpu_us)) }],
    ["one event at a time, publish to handler, p50, beside a loop in Rust", :most, 1.5, "x",
     ->(f) { f.of_peers("latency", :p50_us, "thread", "floor") }],
    ["handlers that compute 1 ms, 2 worker processes beside 1", :least, 1.8, "x",
     ->(f) { f.of_peers("compute_1ms", :events_s, "processes", "process") }],
    ["handlers that wait 5 ms, 50 threads, beside 10,000/s", :least, 0.9, "x",
     ->(f) { of_bound.call(f, "threads_50") }],
    ["handlers that wait 5 ms, 50 fibers, beside 10,000/s", :least, 0.9, "x", ->(f) { of_bound.call(f, "fibers") }],
    ["memory with 1,000,000 events waiting, beside 10,000", :most, 1.1, "x",
     ->(f) { f.quotient(f.of("backlog_1000000", "thread", :rss_mib), f.of("backlog_10000", "thread", :rss_mib)) }]
  ].map { |values| Target.new(*values) }.freeze
end

# frozen_string_literal: true

module RedisIPC
  module Metrics
    # Says which figure belongs to which metric.
    # @api private
    module Catalog
      # Each metric: its type, and its text for people.
      METRICS = {
        "redis_ipc_calls" => [:counter, "Calls made here that have ended, by how"],
        "redis_ipc_call_outcomes" => [:counter, "Calls made here that have ended, by destination and what is known"],
        "redis_ipc_calls_open" => [:gauge, "Calls made here that have not ended"],
        "redis_ipc_requests_resent" => [:counter, "Requests sent again after a connection broke"],
        "redis_ipc_answers_unmatched" => [:counter, "Answers that nobody waited for: late, duplicate or foreign"],
        "redis_ipc_requests_taken" => [:counter, "Requests taken from the inbox or the list"],
        "redis_ipc_requests_redelivered" => [:counter, "Requests taken that had been delivered before"],
        "redis_ipc_requests_expired" => [:counter, "Requests dropped unstarted because their deadline had passed"],
        "redis_ipc_requests_unanswered" => [:counter, "Requests started and not answered by their deadline"],
        "redis_ipc_requests_shed" => [:counter, "Requests rejected unstarted under overload"],
        "redis_ipc_requests_released" => [:counter, "Requests given back unstarted"],
        "redis_ipc_requests_withdrawn" => [:counter, "Requests taken back by their caller before they were started"],
        "redis_ipc_requests_held" => [:gauge, "Requests queued or running here now"],
        "redis_ipc_answers_sent" => [:counter, "Answers that Redis accepted"],
        "redis_ipc_answers_dropped" => [:counter, "Answers that were not delivered"],
        "redis_ipc_entries_malformed" => [:counter, "Entries that are not of the protocol"],
        "redis_ipc_dead_lettered" => [:counter, "Requests and events given up on and moved to the dead letters"],
        "redis_ipc_handlers" => [:gauge, "Handlers that may run at the same time"],
        "redis_ipc_handlers_busy" => [:gauge, "Handlers that run now"],
        "redis_ipc_handler_running_seconds_max" => [:gauge, "For how long the oldest running handler has run"],
        "redis_ipc_connected" => [:gauge, "1 if all connections stand"],
        "redis_ipc_paused" => [:gauge, "1 if the group or this instance is told to take nothing new"],
        "redis_ipc_reconnections" => [:counter, "Connections made again after they broke"],
        "redis_ipc_reports_dropped" => [:counter, "Errors that on_error was not told of, because too many waited"],
        "redis_ipc_events_taken" => [:counter, "Events read"],
        "redis_ipc_events_redelivered" => [:counter, "Events read that had been delivered before"],
        "redis_ipc_events" => [:counter, "Events that this process has finished with, by how"],
        "redis_ipc_events_held" => [:gauge, "Events in this process now"],
        "redis_ipc_events_resting" => [:gauge, "Events that wait for their next try"],
        "redis_ipc_events_held_bytes" => [:gauge, "Size of the events in this process now"],
        "redis_ipc_event_lanes" => [:gauge, "Lanes or partitions that this process owns"],
        "redis_ipc_event_standby" => [:gauge, "1 if another process reads the slot"],
        "redis_ipc_event_losses" => [:counter, "Times that events may have been missed, by cause"]
      }.freeze

      # The histograms of the core: the metric, and its text for people.
      DURATIONS = {
        "call" => ["redis_ipc_client_call_duration_seconds", "How long calls took that were made here"],
        "wait" => ["redis_ipc_server_wait_duration_seconds", "How long requests and events waited for their handler"],
        "run" => ["redis_ipc_server_call_duration_seconds", "How long handlers ran"]
      }.freeze

      # The figures of `stats`, with the metric and further labels.
      SHARED = {
        reconnections: ["redis_ipc_reconnections"], reports_dropped: ["redis_ipc_reports_dropped"],
        dead_lettered: ["redis_ipc_dead_lettered"], paused: ["redis_ipc_paused"], connected: ["redis_ipc_connected"],
        handlers: ["redis_ipc_handlers"], busy: ["redis_ipc_handlers_busy"],
        running: ["redis_ipc_handler_running_seconds_max"]
      }.freeze
      OUTCOMES = %i[fulfilled rejected timed_out failed cancelled overloaded].freeze
      CALLS = {
        **OUTCOMES.to_h { |outcome| [outcome, ["redis_ipc_calls", { outcome: outcome.name }]] },
        open_calls: ["redis_ipc_calls_open"], resent: ["redis_ipc_requests_resent"],
        answers_unmatched: ["redis_ipc_answers_unmatched"], taken: ["redis_ipc_requests_taken"],
        redelivered: ["redis_ipc_requests_redelivered"], expired: ["redis_ipc_requests_expired"],
        unanswered: ["redis_ipc_requests_unanswered"], shed: ["redis_ipc_requests_shed"],
        released: ["redis_ipc_requests_released"], withdrawn: ["redis_ipc_requests_withdrawn"],
        malformed: ["redis_ipc_entries_malformed"], answers_sent: ["redis_ipc_answers_sent"],
        answers_dropped: ["redis_ipc_answers_dropped"], held_requests: ["redis_ipc_requests_held"]
      }.freeze
      # What became of an event. Streams without an order call those done `acknowledged`.
      ENDINGS = {
        acknowledged: "done", done: "done", unacknowledged: "unacknowledged", done_without_lane: "unacknowledged",
        deleted: "deleted", suppressed: "suppressed", skipped: "skipped", refused: "refused", released: "released",
        failed: "failed", dropped: "dropped", too_large: "too_large", forwarded: "forwarded", repeated: "repeated"
      }.freeze
      EVENTS = {
        **ENDINGS.transform_values { |outcome| ["redis_ipc_events", { outcome: outcome }] },
        taken: ["redis_ipc_events_taken"], redelivered: ["redis_ipc_events_redelivered"],
        held: ["redis_ipc_events_held"], resting: ["redis_ipc_events_resting"],
        held_bytes: ["redis_ipc_events_held_bytes"], lanes: ["redis_ipc_event_lanes"],
        standby: ["redis_ipc_event_standby"]
      }.freeze
      BY_KIND = {
        "request_reply" => SHARED.merge(CALLS), "json_rpc" => SHARED.merge(CALLS), "events" => SHARED.merge(EVENTS)
      }.freeze
      # The figures that only grow.
      COUNTED = BY_KIND.values.reduce(:merge).select { |_, (name)| METRICS.fetch(name).first == :counter }.keys.freeze
      # Causes that are shown with 0 before they happen: a monitoring system does not see the growth of a number that it
      # sees for the first time.
      CAUSES = Hash.new(%i[disconnected restarted failover slow_consumer too_large]).merge!(
        "stream" => %i[trimmed rolled_back flushed], "wal" => %i[slot_lost too_large]
      ).freeze
      private_constant :SHARED, :OUTCOMES, :CALLS, :ENDINGS, :EVENTS
    end
  end
end

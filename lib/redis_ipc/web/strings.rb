# frozen_string_literal: true

module RedisIPC
  class Web
    # Every text of the page.
    # @api private
    module Strings # rubocop:disable Metrics/ModuleLength -- one file has all texts
      TEXTS = {
        # The navigation
        overview: "Overview",
        requests: "Requests",
        dead: "Dead letters",
        queues: "Queues",
        events: "Events",
        redis: "Redis",
        try: "Try a request",
        error: "Error",
        navigation: "Pages",
        skip: "Skip to the content",
        live: "Live",
        away: "No answer",
        pause: "Pause",
        resume: "Resume",
        reload: "Reload",
        json: "This page as JSON",
        footer: "redis_ipc %<version>s",
        may_act: "you may act",
        read_only_mount: "read-only",
        content_shown: "contents are shown",
        content_hidden: "contents are hidden",

        # Findings
        findings: "Findings",
        no_findings: "Nothing to report.",
        level_error: "Error",
        level_warning: "Warning",
        level_info: "Note",

        # Columns
        actions: "Actions",
        advice: "What to do",
        age: "Age",
        answered: "Answered/s",
        asked: "Asked/s",
        at: "When",
        attempts: "Attempts",
        busy: "Busy",
        cause: "Cause",
        checkpoint: "Checkpoint",
        choose: "Choose",
        clients: "Clients",
        count: "Number",
        delivery: "Delivery",
        deliveries: "Deliveries",
        destination: "Destination",
        died_at: "Given up",
        event: "Event",
        evicted: "Evicted keys",
        expires_in: "Expires in",
        failed: "Failed/s",
        frame: "Line",
        from: "From",
        gem: "Gem",
        group: "Group",
        handled: "Handled",
        handled_failed: "Failed",
        handlers: "Handlers",
        held_by: "Held by",
        host: "Host",
        id: "Id",
        idle: "Idle",
        incident: "Incident",
        instance: "Instance",
        instances: "Instances",
        kind: "Kind",
        lag: "Lag",
        lanes: "Lanes",
        latency: "Latency",
        letters: "Dead",
        loss_at_least: "At least",
        loss_at_most: "At most",
        losses: "Losses",
        memory: "Memory",
        node: "Address",
        oldest: "Oldest",
        ops: "Commands/s",
        percentiles: "p50 · p95 · p99",
        pending: "Not done",
        pid: "Process",
        policy: "Eviction",
        processing: "Running",
        queue: "Queue",
        ran: "Ran",
        reason: "Reason",
        role: "Role",
        running_for: "For",
        seen: "Seen",
        servers: "Servers",
        setting: "Setting",
        source: "Source",
        span: "Span",
        started: "Started",
        state: "State",
        stream: "Stream",
        trend: "Last 10 min",
        value: "Value",
        version: "Version",
        waiting: "Waiting",

        # States
        alive: "alive",
        gone: "gone",
        silent_for: "silent for %<age>s",
        asks_only: "asks only",
        paused: "paused",
        told_quiet: "quiet",
        state_waiting: "waiting",
        state_taken: "taken",
        state_withdrawn: "entry deleted",
        withdrawn_help: "(withdrawn, or answered and not acknowledged)",
        busy_of: "%<busy>s of %<handlers>s handlers are busy",

        # Charts
        chart_rates: "Answers in ten minutes: at most %<most>s a second, at last %<last>s",
        chart_histogram: "%<name>s of %<count>s: half took up to %<p50>s, 99 of 100 up to %<p99>s",
        chart_losses: "Losses on a time line: %<count>s",
        wait: "Wait",
        run: "Run",
        call: "Call",
        wait_help: "from the arrival of a request or event to the start of its handler",
        run_help: "the time of the handler",
        call_help: "what this group waited for the answers of others",
        longest: "longest",

        # Sections
        groups_of: "Groups of %<stream>s",
        no_groups: "No group is registered now.",
        evicted_note: "Redis has deleted keys (%<count>s so far), so this list is incomplete.",
        no_streams: "This page was mounted without a stream.",
        event_groups: "Consumers of events",
        no_event_groups: "There are no consumers of events.",
        json_rpc_queues: "JSON-RPC queues",
        no_queues: "This page was mounted without a queue.",
        running: "What runs now",
        nothing_runs: "No handler runs.",
        incidents: "Incidents",
        no_instances: "No instance is alive, or died in the last ten minutes.",
        lane_owners: "Lanes of each instance",
        no_losses: "Nothing was lost.",
        no_incidents: "Nothing happened.",
        no_record: "Unknown: no record was written yet.",
        latencies: "How long it takes",
        no_latencies: "Nothing was measured yet.",
        settings: "Settings",
        counters: "Counters",
        outcomes: "Outcomes of its calls",
        fulfilled: "Fulfilled",
        rejected: "Rejected",
        unclaimed: "Unclaimed",
        unknown: "Unknown",
        not_sent: "Not sent",
        instance_title: "Instance %<id>s of %<group>s",
        all_requests: "All groups",
        show: "Show",
        no_requests: "No request waits or runs.",
        find_request: "Find a request",
        request_id: "Id of the request, or its Redis id",
        find: "Find",
        trace_of: "Request %<id>s",
        no_trace: "No trace of it: it was answered, withdrawn or forgotten, or never sent.",
        more: "Older",
        next: "Next",
        now: "now",
        connections: "Our connections, by role",
        position: "Position",
        what_numbers_mean: "What the numbers mean",

        # Dead letters
        no_dead: "There are no dead letters.",
        dead_of: "Dead letters of %<name>s",
        no_letters: "There is none.",
        no_match: "None of them contains %<text>s.",
        search: "Search",
        search_label: "Text in the reason, the ids or the asker",
        search_content_label: "Text in the reason, the ids, the asker or the content",
        clear: "Show all",
        choose_letter: "Choose %<id>s",
        choose_all: "Choose all",
        with_chosen: "With the chosen:",
        with_shown: "With all %<count>s shown:",
        retry: "Retry",
        discard: "Discard",
        dead_letter_title: "Dead letter %<id>s of %<name>s",
        content: "Content",
        content_is_hidden: "Contents are hidden here. The option content: of the mount shows them.",
        confirm_title: "Discard %<count>s of %<name>s?",
        confirm_text: "A discarded request or event is gone. Nothing brings it back.",
        confirm_yes: "Discard",
        confirm_no: "Keep",
        suspect: "suspect",
        suspect_help: "The processes that had this request died, and it runs again now. The mark goes when it is " \
                      "answered: do not retry it before.",
        holders: "Who had it",
        delivery_number: "delivery %<count>s",
        letter_request_id: "Id of the request",
        letter_redis_id: "Redis id",
        letter_source: "Stream of the event",
        letter_from: "Asked by",
        letter_event: "Event",
        letter_key: "Key",
        letter_deliveries: "Deliveries",

        # Acts on groups
        pause_group: "Pause",
        resume_group: "Resume",
        quiet_instance: "Quiet",
        unquiet_instance: "Take again",
        paused_by: "Paused by %<name>s, %<age>s ago.",
        seek: "Seek",
        seek_label: "New position",
        seek_help: "An id of the stream, “beginning” or “new”. The group goes on there, and may handle events again.",
        seek_title: "Set another position",

        # Try a request
        try_help: "Sends one request as a member of this group would, and waits for the answer.",
        try_read_only: "This page is read-only. The option actions: of the mount lets you send requests.",
        try_stream: "A group of a stream",
        try_queue: "A method of a queue",
        target: "Group",
        event_name: "Event (for a channel)",
        method_name: "Method",
        content_json: "Content, as JSON",
        params_json: "Parameters, as JSON",
        timeout: "Timeout in seconds",
        send: "Send",
        outcome: "Outcome",
        took: "Took",
        answer: "Answer",
        answer_is_hidden: "The answer is hidden here. The option content: of the mount shows it.",
        not_json: "The content is not JSON.",
        timeout_range: "The timeout must be more than 0 s and at most %<most>s s.",

        # Notices
        notice_retried: "%<count>s put back, to run again.",
        notice_discarded: "%<count>s discarded.",
        notice_retried_some: "%<count>s put back, to run again. The others are gone, or can only be discarded.",
        notice_nothing_chosen: "Nothing was chosen.",
        notice_pause: "Paused: every instance stops taking requests and events within 10 s.",
        notice_resume: "Resumed: every instance takes requests and events again within 10 s.",
        notice_quiet: "The instance stops taking requests within 10 s.",
        notice_unquiet: "The instance takes requests again within 10 s.",
        notice_sought: "The position is set.",

        # Errors
        status400: "This request cannot be read",
        status403: "Not allowed",
        status404: "Not found",
        status405: "Not possible",
        status503: "Redis does not answer as it should",
        not_found: "There is no %<name>s.",
        parameter_missing: "The parameter %<name>s is missing.",
        form_expected: "A form is sent as %<type>s.",
        form_too_large: "A form has at most %<bytes>s bytes.",
        not_encoded: "The query or the form is not encoded as one.",
        other_site: "The form was not sent by a page of this site.",
        other_host: "This server answers as %<hosts>s only.",
        read_only: "This page is read-only. The option actions: of the mount lets visitors act.",
        wrong_method: "This path does not take that method.",
        unknown_act: "There is no such act.",
        unknown_kind: "There is no such kind of dead letters.",
        unknown_option: "RedisIPC::Web has no option %<names>s",
        no_web_server: "redis_ipc web needs a web server: gem install puma (or webrick)",

        # The glossary
        help_instances: "Processes that are connected to the group and alive.",
        help_busy: "Handlers that run, of all handlers of the group. If all are busy, what comes waits.",
        help_waiting: "Requests that no instance has taken yet.",
        help_oldest: "The age of the request or event that waits longest.",
        help_asked: "Requests that the group asks of others, in each second of the last minute.",
        help_answered: "Requests or events that the group handles, in each second of the last minute.",
        help_failed: "Those of them that ended in an error.",
        help_percentiles: "Half of the handlers ran up to the first time, 95 and 99 of 100 up to the others.",
        help_letters: "Requests or events that were given up on, and wait for you.",
        help_lag: "Events that the group has not handled yet.",
        help_lanes: "Parts of the keys that have an owner, of all. Without an owner nobody handles their events.",
        help_pending: "Events that were delivered, and whose handler has not ended, or failed and runs again.",
        help_checkpoint: "The position up to which all is delivered, or done if there is an order.",
        help_losses: "Where events may be missing, because the source no longer had them.",
        help_idle: "How long ago the holder of a request last renewed its claim."
      }.freeze
      # Columns that are aligned on the right.
      NUMBERS = %i[age answered asked busy clients deliveries delivery evicted expires_in failed fulfilled idle
                   instances lag lanes latency letters loss_at_least loss_at_most losses memory not_sent oldest
                   ops percentiles pid rejected running_for servers unclaimed unknown waiting].freeze
      private_constant :TEXTS, :NUMBERS

      class << self
        # @param name [Symbol]
        # @return [String]
        def text(name, **values)
          text = TEXTS.fetch(name)
          values.empty? ? text : format(text, **values)
        end

        # @param name [String, nil] what the address of a page says
        # @return [String, nil] nil for a name that does not exist, so that nobody can write on the page by a link
        def notice(name, count)
          text = TEXTS[:"notice_#{name}"]
          text && format(text, count: count.to_i)
        end

        # @param column [Symbol]
        # @return [Boolean]
        def number?(column)
          NUMBERS.include?(column)
        end
      end
    end
  end
end

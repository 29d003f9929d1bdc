# frozen_string_literal: true

module RedisIPC
  module CLI
    module Verbs
      # Adds events to a stream.
      # @api private
      class EventsPublish < Verb
        verb "events publish"
        summary "add events to a stream"
        about <<~TEXT
          Adds an event with the data JSON to the end of STREAM, and prints its position. With --lines each line of
          standard input is the data of an event; a thousand of them are added at a time.
        TEXT
        argument :stream, "the stream of events"
        argument :data, "the data; - reads it from standard input", title: "JSON", optional: true
        option :lines, "-l", "--lines", "read events from standard input, one a line"
        option :type, "-T", "--type TYPE", "what happened, such as order.created"
        option :key, "-k", "--key KEY", "what the events belong to: those of a key may be handled in order"
        option :id, "-i", "--id ID", "the application's id of the event: it is added only once"
        option :partitions, "-p", "--partitions NUMBER", "over how many streams the events are spread",
               type: Integer, least: 1
        option :maxlen, "--maxlen NUMBER", "about how many entries the stream keeps", type: Integer, least: 1
        option :keep, "--keep SECONDS", "about how long the stream keeps entries", type: Float, over: 0
        shares :redis, :json
        ends_with 0 => "the events were added", 5 => "they may have been added: the connection broke meanwhile"
        example %q(redis_ipc events publish orders '{"order_id":7}' --type order.created --key 7), "adds an event"
        example "redis_ipc events publish orders --lines < orders.ndjson", "adds an event for each line of a file"

        # Events that are added in one round trip.
        BATCH = 1000
        private_constant :BATCH

        def run
          raise UsageError, "give JSON or --lines" unless given[:lines] ^ given[:data]
          raise UsageError, "--id names one event, --lines may add several" if given[:lines] && given[:id]

          given[:lines] ? publish_lines : publish([json_of(given[:data], "the data")])
          terminal.progress
          nil
        end

        private

        def publish_lines
          count = 0
          $stdin.each_line.each_slice(BATCH) do |lines|
            publish(lines.map { |line| json_of(line, "line #{count += 1}") })
            terminal.progress("#{Units.grouped(count)} events")
          end
        end

        def publish(data)
          events = data.map { |one| { data: one, type: given[:type], key: given[:key], id: given[:id] } }
          options = given.slice(:partitions, :maxlen, :keep).compact
          positions = Events.publish_all(given[:stream], events, redis_options: redis_options, **options)
          terminal.say(terminal.json? ? positions.map { |position| JSON.generate(position: position) } : positions)
        end
      end
    end
  end
end

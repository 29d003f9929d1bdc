# frozen_string_literal: true

require_relative "option"

module RedisIPC
  module CLI
    # The options that verbs have in common. A verb names the sets that it shares.
    # @api private
    module CommonOptions
      # Seconds between two looks with `--watch`.
      WATCH = 2.0

      SETS = {
        redis: [
          Option.new(:redis, "--redis URL,URL", "the server, such as redis://10.0.0.1:6379/0; several are " \
                                                "nodes of a cluster (REDIS_URL, else redis://127.0.0.1:6379/0)",
                     type: Array),
          Option.new(:requires, "-r", "--require FILE", "a Ruby file or library that is loaded first, such as one " \
                                                        "that calls RedisIPC.configure; may be given again",
                     repeated: true)
        ],
        stream: [
          Option.new(:stream, "-s", "--stream NAME", "the stream of request/reply (REDIS_IPC_STREAM)")
        ],
        streams: [
          Option.new(:stream, "-s", "--stream NAME,NAME", "the streams of request/reply (REDIS_IPC_STREAM)",
                     type: Array)
        ],
        others: [
          Option.new(:queue, "-q", "--queue NAME,NAME", "the queues of JSON-RPC (REDIS_IPC_QUEUE)", type: Array),
          Option.new(:events, "--events NAME,NAME", "the streams whose events are handled (REDIS_IPC_EVENTS)",
                     type: Array)
        ],
        application: [
          Option.new(:requires, "-r", "--require FILE", "a file or a library that is loaded first; may be given again",
                     repeated: true),
          Option.new(:environment, "-e", "--environment ENV", "the environment (RAILS_ENV and RACK_ENV)"),
          Option.new(:only, "-o", "--only NAME,NAME", "these classes only, whatever is configured", type: Array)
        ],
        watch: [
          Option.new(:watch, "-w", "--watch[=SECONDS]", "look again every 2 seconds, or as many as this says, until " \
                                                        "Ctrl-C", type: Float, least: 0.1)
        ],
        json: [
          Option.new(:json, "-j", "--json", "print JSON; where there is more than one document, each is a line")
        ],
        always: [
          Option.new(:color, "--no-color", "print without colours, as where NO_COLOR is set or no terminal is there",
                     default: true),
          Option.new(:help, "-h", "--help", "show this")
        ]
      }.transform_values(&:freeze).freeze
      private_constant :SETS

      # @param names [Array<Symbol>]
      # @return [Array<Option>]
      def self.of(names)
        names.flat_map { |name| SETS.fetch(name) }
      end
    end
  end
end

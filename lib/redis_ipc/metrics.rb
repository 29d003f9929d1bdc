# frozen_string_literal: true

require_relative "metrics/family"
require_relative "metrics/distribution"
require_relative "metrics/catalog"
require_relative "metrics/collector"
require_relative "metrics/source"
require_relative "metrics/sources"
require_relative "metrics/groups"
require_relative "metrics/text"

module RedisIPC
  # Metrics are the numbers of this process for a monitoring system: of all streams, JSON-RPC servers and clients and
  # consumers of events that are connected here, or were. docs/operating.md explains each.
  #
  # A process has only its own numbers. A monitoring system adds up those of all processes, because only it notices that
  # a process was restarted.
  #
  # @example In a process without a web server
  #   RedisIPC::Probes.listen(port: 9394) # /metrics, /livez and /readyz
  #
  # @example As text
  #   content_type, text = RedisIPC::Metrics.text
  module Metrics
    class << self
      # Reads all numbers. It asks nothing of Redis, unless there is an {Admin} to ask.
      # @param admin [Admin, nil] adds what it knows of groups, whichever processes serve them. It is meant for one
      #   process of all
      # @return [Array<Family>] by name
      def families(admin: nil)
        found = Collector.families(Sources.all)
        admin ? (found + Groups.families(admin)).sort_by(&:name) : found
      end

      # Writes all numbers for Prometheus, or in the format of OpenMetrics if the reader prefers it.
      # @param accept [String, nil] the reader's `Accept` header
      # @param admin [Admin, nil] as for {families}
      # @return [Array(String, String)] the content type, and the text
      def text(accept: nil, admin: nil)
        format = Text.preferred(accept)
        [format.content_type, format.write(families(admin: admin))]
      end
    end

    private_constant :Catalog, :Collector, :Groups, :Source, :Sources, :Text
  end
end

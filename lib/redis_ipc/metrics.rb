# frozen_string_literal: true

require_relative "metrics/family"
require_relative "metrics/catalog"
require_relative "metrics/collector"
require_relative "metrics/source"
require_relative "metrics/sources"
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
      # Reads all numbers. It asks nothing of Redis.
      # @return [Array<Family>] by name
      def families
        Collector.families(Sources.all)
      end

      # Writes all numbers for Prometheus, or in the format of OpenMetrics if the reader prefers it.
      # @param accept [String, nil] the reader's `Accept` header
      # @return [Array(String, String)] the content type, and the text
      def text(accept: nil)
        format = Text.preferred(accept)
        [format.content_type, format.write(families)]
      end
    end

    private_constant :Catalog, :Collector, :Source, :Sources, :Text
  end
end

# frozen_string_literal: true

require_relative "../redis_ipc"
require_relative "open_telemetry/operation"
require_relative "open_telemetry/telemetry"
require_relative "open_telemetry/requests"
require_relative "open_telemetry/methods"
require_relative "open_telemetry/events"

module RedisIPC
  # OpenTelemetry makes spans and durations of calls, handlers, events and publishing, by OpenTelemetry's API. It needs
  # the gem opentelemetry-api, and for durations opentelemetry-metrics-api. docs/instrumentation.md lists the
  # attributes.
  #
  # @example With the SDK
  #   require "opentelemetry/sdk"
  #   require "redis_ipc/open_telemetry"
  #
  #   OpenTelemetry::SDK.configure { |config| config.service_name = "shop" }
  #   RedisIPC::OpenTelemetry.install
  #
  # @example As an instrumentation, if the gem opentelemetry-instrumentation-base is loaded before
  #   OpenTelemetry::SDK.configure { |config| config.use "RedisIPC::OpenTelemetry" }
  module OpenTelemetry
    class << self
      # Makes spans and durations from now on. The middleware that was added before is outside of the spans. A second
      # call does nothing.
      # @param traces [Boolean] whether to make spans
      # @param metrics [Boolean] whether to record durations, where the API for that is loaded
      # @return [self]
      # @raise [ConfigurationError] if OpenTelemetry's API is not loaded
      def install(traces: true, metrics: true)
        return self if @telemetry

        unless Tracing.available?
          raise ConfigurationError, "OpenTelemetry's API is not loaded: require \"opentelemetry-api\" before"
        end

        @telemetry = Telemetry.new(traces: traces, metrics: metrics)
        links(@telemetry).each { |middleware, link| middleware.add(link) }
        self
      end

      # Ends what {install} began, for tests.
      # @return [self]
      # @api private
      def uninstall
        lists.each { |list| list.to_a.grep(Link).each { |link| list.remove(link) } }
        @telemetry = nil
        self
      end

      private

      def links(telemetry)
        lists.zip([Requests::Asking, Requests::Answering, Methods::Calling, Methods::Serving, Events::Consuming,
                   Events::Publishing].map { |link| link.new(telemetry) })
      end

      # The middleware of the process, which surrounds that of streams and classes.
      def lists
        [RedisIPC.request_middleware, RedisIPC.handler_middleware, JSONRPC.call_middleware, JSONRPC.method_middleware,
         RedisIPC::Events.event_middleware, RedisIPC::Events.publish_middleware]
      end
    end

    private_constant :Telemetry, :Operation, :Link, :Requests, :Methods, :Events
  end
end

require_relative "open_telemetry/instrumentation" if defined?(OpenTelemetry::Instrumentation::Base)

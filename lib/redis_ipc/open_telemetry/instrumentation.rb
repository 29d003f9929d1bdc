# frozen_string_literal: true

module RedisIPC
  module OpenTelemetry
    # Lets the SDK install this by name (`config.use "RedisIPC::OpenTelemetry"`, `config.use_all`).
    # @api private
    class Instrumentation < ::OpenTelemetry::Instrumentation::Base
      instrumentation_name "RedisIPC::OpenTelemetry"
      instrumentation_version RedisIPC::VERSION

      option :traces, default: true, validate: :boolean
      option :durations, default: true, validate: :boolean

      present { true }

      install { |config| RedisIPC::OpenTelemetry.install(traces: config[:traces], metrics: config[:durations]) }
    end
  end
end

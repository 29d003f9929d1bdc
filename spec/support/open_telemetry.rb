# frozen_string_literal: true

# The part of OpenTelemetry's API that the gem uses, because Debian has no package of the real one. A context is the
# text of its traceparent.
module FakeOpenTelemetry
  module Context
    def self.with_current(context)
      before = Thread.current[:fake_open_telemetry]
      Thread.current[:fake_open_telemetry] = context
      yield context
    ensure
      Thread.current[:fake_open_telemetry] = before
    end

    def self.current
      Thread.current[:fake_open_telemetry]
    end
  end

  # The propagator for W3C's format. An unreadable text leaves the context unchanged.
  module Propagation
    TRACEPARENT = /\A[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}\z/

    def self.inject(carrier)
      carrier["traceparent"] = Context.current if Context.current
    end

    def self.extract(carrier)
      TRACEPARENT.match?(carrier["traceparent"]) ? carrier["traceparent"] : Context.current
    end
  end

  def self.propagation
    Propagation
  end
end

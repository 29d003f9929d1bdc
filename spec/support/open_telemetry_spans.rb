# frozen_string_literal: true

require "securerandom"

# The part of OpenTelemetry's API for spans and durations that the gem uses. What is recorded is kept.
module FakeOpenTelemetry
  @spans = Thread::Queue.new
  @durations = Thread::Queue.new

  class << self
    # The spans that have ended, and what histograms were told: name, value, attributes.
    attr_reader :spans, :durations

    def tracer_provider
      Trace
    end

    def meter_provider
      Metrics
    end

    def forget
      [spans, durations].each(&:clear)
    end
  end

  # Tracers, spans and links.
  module Trace
    # A W3C context.
    SpanContext = Struct.new(:traceparent) do
      def valid?
        !traceparent.nil?
      end

      def trace_id
        traceparent[3, 32]
      end
    end

    Link = Struct.new(:span_context)

    # How a span ended.
    module Status
      def self.error(text)
        [:error, text]
      end
    end

    # A span that is current when it is made is its parent.
    class Span
      attr_reader :name, :kind, :attributes, :links, :parent, :exceptions, :context
      attr_accessor :status

      def initialize(name, kind, attributes, links, context = nil)
        @name = name
        @kind = kind
        @attributes = attributes
        @links = links.to_a
        @exceptions = []
        @parent = Context.current
        trace = @parent ? @parent[3, 32] : SecureRandom.hex(16)
        @context = context || SpanContext.new("00-#{trace}-#{SecureRandom.hex(8)}-01")
      end

      def set_attribute(name, value)
        @attributes = attributes.merge(name => value)
      end

      def record_exception(exception)
        exceptions << exception
      end

      def finish
        raise "it has ended before" if @finished

        @finished = true
        FakeOpenTelemetry.spans << self
      end
    end

    # Without a provider a tracer makes spans that nobody sees.
    class Tracer
      def start_span(name, kind: nil, attributes: nil, links: nil)
        Span.new(name, kind, attributes, links, SpanContext.new(Context.current)).tap do |span|
          span.define_singleton_method(:finish) { self }
        end
      end
    end

    # A tracer whose spans are kept.
    class Recorder < Tracer
      def start_span(name, kind: nil, attributes: nil, links: nil)
        Span.new(name, kind, attributes, links)
      end
    end

    class << self
      def tracer(_name, _version)
        Recorder.new
      end

      def with_span(span)
        Context.with_current(span.context.traceparent) { yield span }
      end

      def current_span(context)
        Struct.new(:context).new(SpanContext.new(context))
      end
    end
  end

  # Meters and histograms.
  module Metrics
    Histogram = Struct.new(:name) do
      def record(value, attributes: {})
        FakeOpenTelemetry.durations << [name, value, attributes]
      end
    end

    def self.meter(_name, version:)
      version && self
    end

    def self.create_histogram(name, unit:, description:)
      raise "#{name} needs a unit and a text" unless unit == "s" && description

      Histogram.new(name)
    end
  end
end

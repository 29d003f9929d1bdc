# frozen_string_literal: true

module RedisIPC
  module Metrics
    # The figures of one session, or of the ended sessions of one place.
    # @api private
    class Source
      # @return [Hash{Symbol => String}] the labels of its samples
      attr_reader :labels
      # @return [Hash{Symbol => Integer}] the counters of `stats`, and what there is now
      attr_reader :figures
      # @return [Hash{Symbol => Integer}] how many losses were told, by cause
      attr_reader :losses
      # @return [Hash{String => Distribution}] how long calls, waiting and handlers took
      attr_reader :distributions
      # @return [Hash{Array(String, String) => Integer}] how many calls ended in which way, by destination and outcome
      attr_reader :outcomes

      class << self
        # @param session [EngineSession]
        # @return [Source] with the figures of an open session
        def open(session)
          running = session.running.to_a
          now = { handlers: session.handlers, busy: running.size, running: running.map(&:age).max || 0.0,
                  connected: session.connected? ? 1 : 0 }
          new(session.labels, session.stats.merge(now), session.losses, *details(session))
        end

        # @param session [EngineSession]
        # @return [Source] with what stays of a session that has ended: what it has counted
        def ended(session)
          new(session.labels, session.stats.slice(*Catalog::COUNTED), session.losses, *details(session))
        end

        private

        def details(session)
          histograms, outcomes = session.details.values_at("histograms", "outcomes")
          counts = (outcomes || {}).flat_map { |to, ends| ends.map { |outcome, count| [[to, outcome], count] } }
          [(histograms || {}).transform_values { |told| Distribution.read(told) }, counts.to_h]
        end
      end

      def initialize(labels, figures, losses, distributions, outcomes)
        @labels = labels
        @figures = figures
        @losses = losses
        @distributions = distributions
        @outcomes = outcomes
      end

      # @param other [Source] of the same place, which has ended, too
      # @return [Source]
      def merge(other)
        sum = ->(_, one, two) { one + two }
        self.class.new(labels, figures.merge(other.figures, &sum), losses.merge(other.losses, &sum),
                       distributions.merge(other.distributions, &sum), outcomes.merge(other.outcomes, &sum))
      end

      # @return [String] what the labels are of: "request_reply", "json_rpc" or "events"
      def kind
        labels.fetch(:kind)
      end
    end
  end
end

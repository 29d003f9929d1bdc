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

      # @param session [EngineSession]
      # @return [Source] with the figures of an open session
      def self.open(session)
        running = session.running.to_a
        now = { handlers: session.handlers, busy: running.size, running: running.map(&:age).max || 0.0,
                connected: session.connected? ? 1 : 0 }
        new(session.labels, session.stats, session.losses, now)
      end

      # @param session [EngineSession]
      # @return [Source] with what stays of a session that has ended: its counters
      def self.ended(session)
        new(session.labels, session.stats.slice(*Catalog::COUNTED), session.losses, {})
      end

      def initialize(labels, figures, losses, now)
        @labels = labels
        @figures = figures.merge(now)
        @losses = losses
      end

      # @param other [Source] of the same place, which has ended, too
      # @return [Source]
      def merge(other)
        sum = ->(_, one, two) { one + two }
        self.class.new(labels, figures.merge(other.figures, &sum), losses.merge(other.losses, &sum), {})
      end

      # @return [String] what the labels are of: "request_reply", "json_rpc" or "events"
      def kind
        labels.fetch(:kind)
      end
    end
  end
end

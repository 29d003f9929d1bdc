# frozen_string_literal: true

module RedisIPC
  module Events
    # Reads invalidations: which keys caches are to drop. It is frozen.
    # @api private
    class TrackingFormat
      include SourceFormat

      # What happened: a key may have changed, or all keys are gone.
      INVALIDATE = "invalidate"
      FLUSH = "flush"
      SOURCE = "tracking"
      private_constant :SOURCE

      def initialize
        freeze
      end

      # @return [String] `"tracking"`: Redis does not tell the database
      def source_of(_entry)
        SOURCE
      end

      def kind
        :tracking
      end

      def guarantee
        :at_most_once
      end

      # @param entry [Native::StreamEvent, EntryFields]
      # @return [String] `"invalidate"` or `"flush"`
      def type(entry)
        entry.field(KeyFormat::EVENT)
      end

      # @param entry [Native::StreamEvent, EntryFields]
      # @return [String, nil] nil of a flush
      def key(entry)
        entry.field(KeyFormat::KEY)
      end

      # @param entry [Native::StreamEvent, EntryFields]
      # @return [Hash{Symbol => Object}]
      def metadata(entry)
        { node: entry.node }.compact
      end

      # @return [nil] only the key is told
      def data(_entry); end
    end
    private_constant :TrackingFormat
  end
end

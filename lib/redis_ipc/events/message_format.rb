# frozen_string_literal: true

module RedisIPC
  module Events
    # Reads messages that were published to a channel. It is frozen.
    # @api private
    class MessageFormat
      include SourceFormat

      # The names of the fields that the core writes.
      CHANNEL = "channel"
      DATA = "data"
      PATTERN = "pattern"

      # @return [Symbol]
      attr_reader :kind

      # @param kind [Symbol] `:pubsub` or `:sharded_pubsub`
      # @param json [Boolean] whether payloads are JSON
      # @param type [String, nil] the name of the type in the data
      def initialize(kind, json:, type:)
        @kind = kind
        @json = json
        @type = type
        freeze
      end

      # @param entry [Native::StreamEvent, EntryFields]
      # @return [String] the channel
      def source_of(entry)
        entry.field(CHANNEL)
      end

      def guarantee
        :at_most_once
      end

      # @yieldreturn [Object] the data
      # @return [String, nil] nil also if the data cannot be read
      def type(_entry)
        return if @type.nil?

        data = yield
        data[@type]&.to_s if data.is_a?(Hash)
      rescue MalformedEntryError
        nil
      end

      # @param entry [Native::StreamEvent, EntryFields]
      # @return [Hash{Symbol => String}]
      def metadata(entry)
        { pattern: entry.field(PATTERN), node: entry.node }.compact
      end

      # Returns the text of a message with this type and data, as {#type} and {#data} read it.
      # @param type [String, Symbol, nil]
      # @param data [Object]
      # @return [String]
      # @raise [ContentError] if JSON cannot hold it
      def text(type, data)
        return data.to_s unless @json

        Native.dump(@type && type && data.is_a?(Hash) ? { @type => type.to_s, **data.transform_keys(&:to_s) } : data)
      end

      # @param entry [Native::StreamEvent, EntryFields]
      # @return [Object] frozen
      # @raise [MalformedEntryError]
      def data(entry)
        @json ? entry.decoded(DATA) : entry.field(DATA)
      rescue ContentError
        raise MalformedEntryError.new("the message is no JSON", stream: source_of(entry))
      end
    end
    private_constant :MessageFormat
  end
end

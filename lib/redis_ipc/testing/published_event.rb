# frozen_string_literal: true

module RedisIPC
  module Testing
    # An event that was published in a test. It is frozen.
    class PublishedEvent
      # @return [String] the stream's name
      attr_reader :stream
      # @return [Hash{String => String}] the fields of the entry, as Redis would have them
      attr_reader :fields
      # @return [String] its position, `"ms-sequence"`
      attr_reader :position
      # @return [String, nil] as {ChangeEvent#type}
      attr_reader :type
      # @return [String, nil] as {ChangeEvent#key}
      attr_reader :key
      # @return [Object] as {ChangeEvent#data}: through JSON, Hash keys are Strings
      attr_reader :data

      # @param event [ChangeEvent]
      # @api private
      def initialize(event)
        @stream = event.source
        @fields = event.metadata[:fields]
        @position = event.position
        @type = event.type
        @key = event.key
        @data = event.data
        freeze
      end

      # @return [Array<Object>] the data with Strings and with Symbols as keys
      # @api private
      def data_in_both_ways
        [data, Native.load(Native.dump(data))]
      end

      # @return [String]
      def inspect
        "#{type || "an event"}#{" with key #{key}" if key} to #{stream}: #{data.inspect}"
      end
    end
  end
end

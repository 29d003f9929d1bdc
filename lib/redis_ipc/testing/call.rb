# frozen_string_literal: true

module RedisIPC
  module Testing
    # A call that was made in a test. It is frozen.
    class Call
      # @return [String] the stream's name
      attr_reader :stream
      # @return [String] the group that asked
      attr_reader :from
      # @return [String] the group that was asked
      attr_reader :to
      # @return [Object] what was sent, as it arrives: through JSON, Hash keys are Symbols
      attr_reader :content
      # @return [Float, nil] seconds
      attr_reader :timeout

      # @api private
      def initialize(stream:, from:, to:, content:, timeout:)
        @stream = stream
        @from = from
        @to = to
        @content = content
        @timeout = timeout
        freeze
      end

      # @return [String, nil] the event, if a channel asked
      def event
        content[:event] if content.is_a?(Hash) && content[:event].is_a?(String) && content.key?(:params)
      end

      # @return [Hash, nil] the event's params, if a channel asked
      def params
        content[:params] if event
      end

      # @return [String]
      def inspect
        what = event ? "#{event} with #{params.inspect}" : content.inspect
        "#{from} asked #{to}: #{what}"
      end
    end
  end
end

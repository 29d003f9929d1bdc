# frozen_string_literal: true

module RedisIPC
  module JSONRPC
    # A message from the list: a request or a batch, its reply list and its deadline.
    # @api private
    class Envelope
      # A reply list and "!" before the text: the way to answer a text that is no JSON-RPC and so cannot name one.
      PREFIX = /\A([^\s"!]{1,1300})!/
      # The range of times on Redis's clock.
      TIMES = (0...(2**63))
      private_constant :PREFIX, :TIMES

      # @return [Object] the request or the batch
      attr_reader :message
      # @return [String, nil] the list for the answer
      attr_reader :reply_to
      # @return [Integer, nil] ms on Redis's clock
      attr_reader :deadline
      # @return [String, nil] why it is not JSON
      attr_reader :malformed

      # @param native [Native::ListRequest]
      def initialize(native)
        @message = native.load(0)
        read_members
      rescue ContentError => e
        @malformed = e.message
        read_prefixed(native)
      end

      private

      def read_prefixed(native)
        prefix = PREFIX.match(native.text.b) or return
        @reply_to = prefix[1].force_encoding(Encoding::UTF_8).scrub
        @message = native.load(prefix.end(0))
        @malformed = nil
        @deadline = time(carrier[:deadline])
      rescue ContentError => e
        @malformed = e.message
      end

      def read_members
        carrier = self.carrier
        @reply_to = carrier[:reply_to] if carrier[:reply_to].is_a?(String)
        @deadline = time(carrier[:deadline])
      end

      # Returns the object that has the members: the request, or the first request of a batch that has `reply_to`.
      def carrier
        case message
        when Hash then message
        when Array then message.find { |request| request.is_a?(Hash) && request.key?(:reply_to) } || {}
        else {}
        end
      end

      def time(value)
        value if value.is_a?(Integer) && TIMES.cover?(value)
      end
    end
  end
end

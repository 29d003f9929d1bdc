# frozen_string_literal: true

module RedisIPC
  module JSONRPC
    # What came over the list: a request or a batch, where its answer goes, and until when it is wanted.
    # @api private
    class Envelope
      # A list and "!" before the text: the way to an answer for what is no JSON-RPC and so cannot name one.
      PREFIX = /\A([^\s"!]{1,1300})!/
      # What a time on Redis's clock may be.
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

      # A request has the members itself; of a batch, the first request that has `reply_to`.
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

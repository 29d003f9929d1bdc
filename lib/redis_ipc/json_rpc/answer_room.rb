# frozen_string_literal: true

module RedisIPC
  module JSONRPC
    # The bytes that the answers to one text may still have: a batch of requests is answered as one.
    # @api private
    class AnswerRoom
      # @return [Integer] bytes
      attr_reader :left

      # @param size [Integer] bytes
      def initialize(size)
        @left = size
        @exceeded = false
      end

      # @param text [String, nil] an answer that goes out
      # @return [String, nil] the same
      def take(text)
        @left = [@left - text.bytesize, 0].max if text
        text
      end

      # There was no room for an answer.
      # @return [void]
      def exceed
        @exceeded = true
      end

      # @return [Boolean] whether there was no room for an answer, so that no other call is started
      def exceeded?
        @exceeded
      end
    end
  end
end

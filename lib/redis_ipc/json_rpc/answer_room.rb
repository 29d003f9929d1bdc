# frozen_string_literal: true

module RedisIPC
  module JSONRPC
    # Counts the bytes that are left for the answers to one text: a batch of requests is answered in one text.
    # @api private
    class AnswerRoom
      # @return [Integer] bytes
      attr_reader :left

      # @param size [Integer] bytes
      def initialize(size)
        @left = size
        @exceeded = false
      end

      # @param text [String, nil] an answer that is sent
      # @return [String, nil] the same
      def take(text)
        @left = [@left - text.bytesize, 0].max if text
        text
      end

      # Notes that there was no room for an answer.
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

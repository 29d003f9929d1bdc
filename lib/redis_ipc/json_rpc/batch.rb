# frozen_string_literal: true

module RedisIPC
  module JSONRPC
    # Collects the requests of {Client#batch}.
    class Batch
      # @api private
      attr_reader :calls, :notifications

      # @api private
      def initialize
        @calls = []
        @notifications = []
        @order = []
      end

      # Adds a call.
      # @param method [String, Symbol]
      # @param params [Array] by position
      # @param named [Hash] by name
      # @return [Integer] where its result will be in what {Client#batch} returns
      # @raise [ArgumentError] with both kinds of parameters
      def call(method, *params, **named)
        request = Request.build(method, Request.params(params, named))
        @order << request
        @calls << request
        @calls.size - 1
      end

      # Adds a notification.
      # @param (see #call)
      # @return [nil]
      def notify(method, *params, **named)
        request = Request.build(method, Request.params(params, named))
        @order << request
        @notifications << request
        nil
      end

      # @api private
      def requests
        @order
      end
    end
  end
end

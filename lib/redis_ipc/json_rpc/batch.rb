# frozen_string_literal: true

module RedisIPC
  module JSONRPC
    # A batch collects the requests of {Client#batch}.
    class Batch
      # @api private
      attr_reader :calls, :notifications, :timeouts

      # @api private
      def initialize
        @calls = []
        @notifications = []
        @order = []
        @timeouts = []
      end

      # Adds a call.
      # @param method [String, Symbol] the method's name
      # @param params [Array] parameters by position
      # @param timeout [Numeric, nil] seconds. All answers come together, so the shortest timeout counts for the batch
      # @param named [Hash] parameters by name
      # @return [Integer] the index of its result in what {Client#batch} returns
      # @raise [ArgumentError] with both kinds of parameters
      def call(method, *params, timeout: nil, **named)
        request(method, Request.params(params, named), timeout: timeout)
      end

      # Adds a call as {#call} does, with parameters that {#call} would take for its own (`timeout`), or whose names are
      # no Symbols.
      # @param method [String, Symbol] the method's name
      # @param params [Array, Hash, nil] by position, by name, or none
      # @param timeout [Numeric, nil] seconds, as for {#call}
      # @return (see #call)
      def request(method, params = nil, timeout: nil)
        @calls << add(method, params, timeout)
        @calls.size - 1
      end

      # Adds a notification.
      # @param (see #call)
      # @return [nil]
      def notify(method, *params, timeout: nil, **named)
        @notifications << add(method, Request.params(params, named), timeout)
        nil
      end

      # @api private
      def requests
        @order
      end

      private

      def add(method, params, timeout)
        @timeouts << timeout unless timeout.nil?
        Request.build(method, params).tap { |request| @order << request }
      end
    end
  end
end

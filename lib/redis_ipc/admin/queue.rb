# frozen_string_literal: true

module RedisIPC
  class Admin
    # A queue of JSON-RPC.
    class Queue < Value
      # @return [String]
      attr_reader :name
      # @return [Integer, nil] how many requests nobody has taken
      attr_reader :waiting
      # @return [Float, nil] for how many seconds the oldest one waits; nil if it does not say when it was sent
      attr_reader :oldest
      # @return [Float, nil] the seconds until the deadline of the request that is taken next
      attr_reader :expires_in
      # @return [Array<Instance>]
      attr_reader :servers
      # @return [Integer] how many requests servers hold
      attr_reader :processing
      # @return [Integer, nil] how many were given up on
      attr_reader :dead
      # @return [Integer, nil] how many handlers may run at the same time
      attr_reader :handlers
      # @return [Integer, nil] how many of them run
      attr_reader :busy
      # @return [Float, nil] requests that are answered in each second, of the last minute
      attr_reader :answered
      # @return [Float, nil] requests in each second that ended in an error
      attr_reader :failed
      # @return [Histogram, nil] how long requests waited
      attr_reader :wait
      # @return [Histogram, nil] how long handlers ran
      attr_reader :run
      # @return [Series, nil] the last ten minutes
      attr_reader :series
      # @return [String, nil] who paused it
      attr_reader :paused_by
      # @return [Time, nil] when it was paused
      attr_reader :paused_at
      # @return [Array<String>] the servers that are told to take nothing new
      attr_reader :quiet

      # @api private
      attr_reader :paused

      # @return [Boolean] whether it is told to take nothing new
      def paused?
        @paused
      end
    end
  end
end

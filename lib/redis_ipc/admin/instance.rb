# frozen_string_literal: true

module RedisIPC
  class Admin
    # One process's part in a group: a member of a stream, a server of a queue, or a consumer of events. What only its
    # record says is nil while there is none: a program in another language need not write one.
    class Instance < Value
      # @return [String] the stream, or the queue
      attr_reader :stream
      # @return [String] the group; empty for a server of a queue
      attr_reader :group
      # @return [String]
      attr_reader :id
      # @return [String, nil]
      attr_reader :host
      # @return [Integer, nil]
      attr_reader :pid
      # @return [Symbol, nil] `:request_reply`, `:json_rpc` or `:events`
      attr_reader :kind
      # @return [String, nil] the version of the gem
      attr_reader :gem
      # @return [Time, nil] when it connected
      attr_reader :started
      # @return [Time, nil] its last sign of life, on Redis's clock
      attr_reader :seen
      # @return [Float, nil] for how many seconds it has been silent: it has missed three signs of life, or counts as
      #   dead. It is cut off from Redis, frozen or dead. nil if it is not silent
      attr_reader :silent
      # @return [Time, nil] when it wrote its record
      attr_reader :written
      # @return [Float, nil] its lease in seconds, if it takes requests
      attr_reader :lease
      # @return [Hash{String => Object}, nil] the settings that the members of a group must agree on
      attr_reader :settings
      # @return [Integer, nil] how many handlers may run at the same time
      attr_reader :handlers
      # @return [Integer, nil] how many of them run
      attr_reader :busy
      # @return [Array<Running>, nil] what runs, the oldest first, at most 16
      attr_reader :running
      # @return [Hash{String => Integer}, nil] what it has counted since it connected
      attr_reader :counters
      # @return [Hash{String => Hash{String => Integer}}, nil] how its calls ended, by the group that was asked
      attr_reader :outcomes
      # @return [Array<Incident>, nil] the last 16, the oldest first
      attr_reader :incidents
      # @return [Histogram, nil] how long its calls took
      attr_reader :call
      # @return [Histogram, nil] how long requests waited until their handler began
      attr_reader :wait
      # @return [Histogram, nil] how long handlers ran
      attr_reader :run
      # @return [Series, nil] the last ten minutes
      attr_reader :series
      # @return [Hash{String => Object}, nil] what a consumer of events says of itself
      attr_reader :events

      # @api private
      attr_reader :alive, :paused

      # @return [Boolean] whether it shows that it is alive
      def alive?
        @alive
      end

      # @return [Boolean, nil] whether it takes nothing new
      def paused?
        @paused
      end

      # @return [Boolean] whether it answers requests, or handles events
      def serves?
        !lease.nil? || handlers.to_i.positive?
      end

      # @return [Running, nil] what has been running for the longest time
      def oldest
        running&.max_by { |one| one.age || 0 }
      end

      # @return [String] for people, such as "web-7 pid 15752"
      def name
        host ? "#{host} pid #{pid}" : id
      end
    end
  end
end

# frozen_string_literal: true

module RedisIPC
  class Admin
    # The processes that handle the events of a source together.
    class EventGroup < Value
      # @return [String] the stream; `redis_ipc:events` for sources that are none
      attr_reader :stream
      # @return [String] the group; the name of the consumer, or the slot of PostgreSQL, for other sources
      attr_reader :name
      # @return [String, nil] `stream`, `channel`, `keys`, `tracking`, `wal` ...
      attr_reader :source
      # @return [Array<Instance>]
      attr_reader :instances
      # @return [Integer, nil] how many events are still to be delivered
      attr_reader :lag
      # @return [Float, nil] the age in seconds of the oldest event that is not done
      attr_reader :oldest
      # @return [Integer, nil] how many were delivered and are not done
      attr_reader :pending
      # @return [Integer, nil] how many lanes or partitions have an owner
      attr_reader :lanes_owned
      # @return [Integer, nil] how many lanes or partitions there are; nil without an order
      attr_reader :lanes
      # @return [Hash{Integer => String}, nil] the owner of each lane that has one
      attr_reader :owners
      # @return [Integer, nil] how many partitions the stream has
      attr_reader :partitions
      # @return [Array<Loss>] the oldest first
      attr_reader :losses
      # @return [String, nil] the position up to which all is done
      attr_reader :checkpoint
      # @return [Integer, nil] how many dead letters there are
      attr_reader :dead
      # @return [Integer, nil] how many events the living instances have handled
      attr_reader :handled
      # @return [Integer, nil] how many tries of theirs failed
      attr_reader :failures
      # @return [Integer, nil] how many handlers may run at the same time
      attr_reader :handlers
      # @return [Integer, nil] how many of them run
      attr_reader :busy
      # @return [Float, nil] events that are handled in each second, of the last minute
      attr_reader :answered
      # @return [Float, nil] tries in each second that failed
      attr_reader :failed
      # @return [Histogram, nil] how long events waited
      attr_reader :wait
      # @return [Histogram, nil] how long handlers ran
      attr_reader :run
      # @return [Series, nil] the last ten minutes
      attr_reader :series
      # @return [String, nil] who paused it
      attr_reader :paused_by
      # @return [Time, nil] when it was paused
      attr_reader :paused_at
      # @return [Array<String>] the instances that are told to take nothing new
      attr_reader :quiet

      # @api private
      attr_reader :paused

      # @return [Boolean] whether it is told to take nothing new
      def paused?
        @paused
      end

      # @return [Boolean] whether events are handled in an order
      def ordered?
        !lanes.nil?
      end

      # @return [String] for people, such as "orders/billing"
      def path
        "#{stream}/#{name}"
      end
    end
  end
end

# frozen_string_literal: true

module RedisIPC
  class Admin
    # A group of a stream. Of what its instances say in their records, the living ones count.
    class Group < Value
      # @return [String]
      attr_reader :stream
      # @return [String]
      attr_reader :name
      # @return [Integer] how many instances are alive
      attr_reader :instances
      # @return [Integer] how many of them answer requests
      attr_reader :serving
      # @return [Integer, nil] how many handlers may run at the same time
      attr_reader :handlers
      # @return [Integer, nil] how many of them run
      attr_reader :busy
      # @return [Integer, nil] how many requests nobody has, also of those that were given back
      attr_reader :waiting
      # @return [Integer, nil] how many requests were taken and are not answered
      attr_reader :taken
      # @return [Float, nil] for how many seconds the oldest of those that wait has waited
      attr_reader :oldest
      # @return [Integer, nil] how many dead letters there are
      attr_reader :dead
      # @return [Float, nil] requests that it asks in each second, of the last minute
      attr_reader :asked
      # @return [Float, nil] requests that it answers in each second
      attr_reader :answered
      # @return [Float, nil] requests in each second that ended in an error
      attr_reader :failed
      # @return [Histogram, nil] how long its calls took
      attr_reader :call
      # @return [Histogram, nil] how long requests waited until their handler began
      attr_reader :wait
      # @return [Histogram, nil] how long handlers ran
      attr_reader :run
      # @return [Series, nil] the last ten minutes
      attr_reader :series
      # @return [Float, nil] for how many seconds a living instance has not written its record, if that is over 30 s:
      #   what instances say of themselves (`busy`, the rates, the histograms) is as old
      attr_reader :outdated
      # @return [String, nil] who paused it
      attr_reader :paused_by
      # @return [Time, nil] when it was paused
      attr_reader :paused_at
      # @return [Array<String>] the instances that are told to take nothing new
      attr_reader :quiet

      # @api private
      attr_reader :paused, :known

      # @return [Boolean] whether it has instances or had some last week, or there are requests or dead letters for it
      def known?
        @known
      end

      # @return [Boolean] whether it is told to take nothing new
      def paused?
        @paused
      end

      # @return [String] for people, such as "house/child"
      def path
        "#{stream}/#{name}"
      end
    end
  end
end

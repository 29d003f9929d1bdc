# frozen_string_literal: true

module RedisIPC
  module CLI
    # Runs a block in threads as often as it can, and measures how long each run takes.
    # @api private
    class Load
      # What was measured. Times are in seconds.
      class Result
        # @return [Integer]
        attr_reader :threads

        # @param threads [Integer]
        # @param seconds [Float]
        # @param times [Array<Float>]
        def initialize(threads, seconds, times)
          @threads = threads
          @seconds = seconds
          @times = times.sort.freeze
          freeze
        end

        # @return [Integer]
        def calls
          @times.size
        end

        # @return [Float] calls a second
        def rate
          calls / @seconds
        end

        # @return [Float]
        def mean
          @times.sum / calls
        end

        # @return [Float]
        def longest
          @times.last
        end

        # @param shares [Array<Float>]
        # @return [Array<Float>]
        def percentiles(*shares)
          shares.map { |share| @times[(share * calls).ceil - 1] }
        end

        # @return [Hash]
        def to_h
          p50, p95, p99 = percentiles(0.5, 0.95, 0.99)
          times = { mean: mean, p50: p50, p95: p95, p99: p99, longest: longest }
          { threads: threads, calls: calls, seconds: @seconds.round(3), calls_per_second: rate.round(1),
            **times.transform_values { |seconds| seconds.round(7) } }
        end
      end

      # @param threads [Integer]
      # @yield is run
      def initialize(threads, &block)
        @threads = threads
        @block = block
      end

      # @param seconds [Float]
      # @return [Result]
      # @raise what the block raises
      def run(seconds)
        started = Monotonic.now
        threads = Array.new(@threads) do
          Thread.new do
            Thread.current.report_on_exception = false
            times_until(started + seconds)
          end
        end
        times = threads.flat_map(&:value)
        Result.new(@threads, Monotonic.now - started, times)
      ensure
        threads&.each(&:kill)
      end

      private

      def times_until(finish)
        times = []
        now = Monotonic.now
        loop do
          @block.call
          before = now
          now = Monotonic.now
          times << (now - before)
          return times if now >= finish
        end
      end
    end
  end
end

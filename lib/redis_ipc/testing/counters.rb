# frozen_string_literal: true

module RedisIPC
  module Testing
    # Counts for one stream what the core counts, under the same names. Figures that need Redis stay 0.
    # @api private
    class Counters
      NAMES = %i[
        requests fulfilled rejected timed_out failed cancelled overloaded resent answers_unmatched taken redelivered
        answers_sent answers_dropped expired unanswered shed released withdrawn dead_lettered malformed reconnections
        reports_dropped open_calls held_requests
      ].freeze
      @all = {}.compare_by_identity
      @lock = Mutex.new

      class << self
        # @param stream [Stream]
        # @return [Counters]
        def of(stream)
          @lock.synchronize { @all[stream.counted_by || stream] ||= new }
        end

        def forget
          @lock.synchronize { @all.clear }
        end
      end

      def initialize
        @counts = NAMES.to_h { |name| [name, 0] }
        @lock = Mutex.new
      end

      def add(name, count = 1)
        @lock.synchronize { @counts[name] = @counts.fetch(name) + count }
      end

      # Adds one to a figure while the block runs.
      def during(name)
        add(name)
        yield
      ensure
        add(name, -1)
      end

      # @return [Hash{Symbol => Integer}]
      def to_h
        @lock.synchronize { @counts.dup }
      end
    end
    private_constant :Counters
  end
end

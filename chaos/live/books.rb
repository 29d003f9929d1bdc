# frozen_string_literal: true

module Chaos
  module Live
    # What was handled, and what was told. Handlers write, and one thread reads.
    class Books
      # By how much the clocks of Redis and of this process may differ, in seconds.
      CLOCKS = 0.05

      # The longest time between two messages of a line, in seconds.
      attr_reader :gap

      # @param source [Source]
      def initialize(source)
        @source = source
        @queue = Queue.new
        @losses = Queue.new
        @ever = Set.new
        clear
      end

      # Notes that a number was handled.
      def handled(number)
        @queue << [number, Chaos.now]
      end

      # Notes that a loss was told.
      def lost(loss)
        @losses << loss
      end

      # Whether a number was handled since the last outcome.
      def include?(number)
        read
        @times.key?(number)
      end

      # Returns what was handled since a time: numbers, and when.
      def since(time)
        read
        @list.reverse_each.take_while { |_, at| at >= time }
      end

      # Returns what there is to say of what was handled and told since the last call, and begins anew.
      # @param published [Hash{Integer => Time}] what Redis has sent meanwhile, and when
      def conclude(published)
        read
        losses = Array.new(@losses.size) { @losses.pop }
        missing = published.filter_map { |number, at| at unless @ever.include?(number) }
        { missing: missing.size, outside: missing.count { |at| losses.none? { |loss| covers?(loss, at) } },
          bounds: losses.map(&:at_most), exact: losses.all?(&:exact?), disorder: @disorder, again: @again }
      ensure
        clear
      end

      private

      # Whether a loss tells of this time. What was dropped here has the time when it was received.
      def covers?(loss, time)
        return true if loss.exact? || loss.since.nil? || !@source.prompt?

        time.between?(loss.since - CLOCKS, loss.until + CLOCKS)
      end

      def clear
        @list = []
        @times = {}
        @lines = {}
        @gap = @disorder = @again = 0
      end

      def read
        @queue.size.times { add(*@queue.pop) }
      end

      def add(number, at)
        @again += 1 unless @ever.add?(number)
        @list << [number, at]
        @times[number] = at
        line = @source.line_of(number) or return
        last, before = @lines[line]
        @disorder += 1 if last && last > number
        @gap = [@gap, at - before].max if before
        @lines[line] = [number, at]
      end
    end
  end
end

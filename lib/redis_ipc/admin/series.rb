# frozen_string_literal: true

module RedisIPC
  class Admin
    # What was counted in each of the last steps of time, the oldest first.
    class Series < Value
      # How many steps are kept.
      MOST = 60
      # The steps that a rate is of.
      RECENT = 6
      NAMES = %w[asked answered failed run_ms].freeze
      private_constant :MOST, :RECENT, :NAMES

      # @return [Float] how many seconds a step has
      attr_reader :every
      # @return [Array<Integer>] requests that were asked
      attr_reader :asked
      # @return [Array<Integer>] requests or events that were handled
      attr_reader :answered
      # @return [Array<Integer>] those of them that failed
      attr_reader :failed
      # @return [Array<Integer>] how many milliseconds handlers ran
      attr_reader :run_ms

      class << self
        # @param hash [Object] as a record has it
        # @param behind [Float] for how many seconds the record has not been written
        # @return [Series, nil]
        # @api private
        def read(hash, behind)
          every = Numbers.whole(hash["every"]) if hash.is_a?(Hash)
          return unless every&.positive?

          steps = (behind * 1_000 / every).floor.clamp(0, MOST)
          lists = NAMES.map { |name| shifted(hash[name], steps) }
          return if lists.all?(&:empty?)

          new(every: every / 1_000.0, **NAMES.map(&:to_sym).zip(lists).to_h)
        end

        # @param series [Array<Series, nil>]
        # @return [Series, nil] the sums of all; nil if there is none
        # @api private
        def merge(series)
          series = series.compact
          return series.first if series.size < 2

          every = series.first.every
          series = series.select { |one| one.every == every }
          new(every: every, **NAMES.map(&:to_sym).to_h { |name| [name, sums(series.map(&name))] })
        end

        private

        # The steps since the record was written count as 0.
        def shifted(list, steps)
          return [].freeze unless Numbers.wholes?(list) && list.size <= MOST

          (list + Array.new(steps, 0)).last(MOST).freeze
        end

        # The lists end at the same time.
        def sums(lists)
          total = Array.new(lists.map(&:size).max || 0, 0)
          lists.each do |list|
            index = total.size - list.size
            list.each do |count|
              total[index] += count
              index += 1
            end
          end
          total.freeze
        end
      end

      # @param name [Symbol] `:asked`, `:answered` or `:failed`
      # @return [Float, nil] how many in each second, of the last minute
      def rate(name)
        recent = public_send(name).last(RECENT)
        recent.sum / (recent.size * every) unless recent.empty?
      end
    end
  end
end

# frozen_string_literal: true

module RedisIPC
  module CLI
    # Numbers as people read them.
    # @api private
    module Units
      class << self
        # @param seconds [Numeric, nil]
        # @return [String, nil] `"74 us"`, `"1.25 ms"`, `"2.3 s"`, `"5 min"`, `"3 h"`, `"2 d"`
        def duration(seconds)
          return if seconds.nil?

          case seconds.abs
          when 0...0.001 then "#{(seconds * 1e6).round} us"
          when 0.001...1 then "#{short(seconds * 1e3)} ms"
          when 1...120 then "#{short(seconds)} s"
          when 120...7200 then "#{(seconds / 60).round} min"
          when 7200...172_800 then "#{(seconds / 3600).round} h"
          else "#{(seconds / 86_400).round} d"
          end
        end

        # @param number [Numeric, nil] per second
        # @return [String, nil]
        def rate(number)
          number && (number < 100 ? short(number) : grouped(number.round))
        end

        # @param number [Integer, nil]
        # @return [String, nil] `"1,234"`
        def grouped(number)
          number&.to_s&.gsub(/(?<=\d)(?=(\d{3})+\z)/, ",")
        end

        private

        # Three digits are enough.
        def short(number)
          digits = { 10 => 2, 100 => 1 }.find { |limit, _| number.abs < limit }&.last || 0
          text = format("%.#{digits}f", number)
          text.include?(".") ? text.sub(/\.?0+\z/, "") : text
        end
      end
    end
  end
end

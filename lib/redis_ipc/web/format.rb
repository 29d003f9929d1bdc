# frozen_string_literal: true

module RedisIPC
  class Web
    # Numbers as people read them. What is unknown is a dash.
    # @api private
    module Format
      UNKNOWN = "–"
      UNITS = [[1e-6, "ns", 1e9], [1e-3, "µs", 1e6], [1.0, "ms", 1e3], [60.0, "s", 1]].freeze
      LONGER = [[86_400, "d", 3600, "h"], [3600, "h", 60, "min"], [60, "min", 1, "s"]].freeze
      SIZES = %w[B KiB MiB GiB TiB].freeze
      private_constant :UNITS, :LONGER, :SIZES

      module_function

      # @param seconds [Numeric, nil]
      # @return [String] three digits: `1.24 ms`, `12.4 s`, `2 h 5 min`
      def duration(seconds)
        return UNKNOWN if seconds.nil?
        return "0 s" if seconds.zero?

        _, unit, factor = UNITS.find { |below, _, _| seconds < below }
        unit ? "#{digits(seconds * factor)} #{unit}" : long(seconds)
      end

      # Ages need no fractions. With few different values a page also changes less often.
      # @param seconds [Numeric, nil]
      # @return [String]
      def age(seconds)
        return UNKNOWN if seconds.nil?

        seconds < 60 ? "#{[seconds, 0].max.floor} s" : long(seconds)
      end

      # What runs now begins with fractions of a second.
      # @param seconds [Numeric, nil]
      # @return [String]
      def running(seconds)
        return age(seconds) if seconds.nil? || seconds >= 10

        format("%.1f s", [seconds, 0].max)
      end

      # @param number [Integer, nil]
      # @return [String] with spaces between thousands
      def count(number)
        return UNKNOWN if number.nil?

        number.to_s.gsub(/(?<=\d)(?=(\d{3})+\z)/, "\u202f")
      end

      # @param per_second [Numeric, nil]
      # @return [String]
      def rate(per_second)
        return UNKNOWN if per_second.nil?
        return "0" if per_second.zero?

        per_second < 0.01 ? "<0.01" : digits(per_second)
      end

      # @param bytes [Integer, nil]
      # @return [String]
      def size(bytes)
        return UNKNOWN if bytes.nil?

        power = bytes.zero? ? 0 : [(Math.log2(bytes) / 10).floor, SIZES.size - 1].min
        "#{digits(bytes.fdiv(1024**power))} #{SIZES[power]}"
      end

      # @param time [Time, nil]
      # @return [String] in UTC, because the visitor's zone is not known
      def time(time)
        time ? time.getutc.strftime("%Y-%m-%d %H:%M:%S UTC") : UNKNOWN
      end

      # @param number [Numeric]
      # @return [String] three digits, and no zeros behind the point
      def digits(number)
        return count(number.round) if number >= 100

        text = format(number >= 10 ? "%.1f" : "%.2f", number)
        text.include?(".") ? text.sub(/\.?0+\z/, "") : text
      end

      def long(seconds)
        whole = seconds.floor
        size, unit, next_size, next_unit = LONGER.find { |at_least, *| whole >= at_least }
        rest = whole % size / next_size
        ["#{whole / size} #{unit}", ("#{rest} #{next_unit}" if rest.positive?)].compact.join(" ")
      end
    end
  end
end

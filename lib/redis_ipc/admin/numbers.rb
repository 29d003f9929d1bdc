# frozen_string_literal: true

module RedisIPC
  class Admin
    # Numbers that another process has written. What no process of ours can have meant is unknown, so that nothing that
    # reckons with it becomes infinite.
    # @api private
    module Numbers
      # Beyond what 64 bits hold.
      END_OF_WHOLE = 2**64
      # Some 30,000 years in milliseconds.
      END_OF_TIME = 10**15
      # As long, in seconds.
      LONGEST = 1e12
      private_constant :END_OF_WHOLE, :END_OF_TIME, :LONGEST

      class << self
        # @param value [Object]
        # @return [Integer, nil]
        def whole(value)
          value if value.is_a?(Integer) && value.abs < END_OF_WHOLE
        end

        # @param values [Object]
        # @return [Boolean] whether it is a list of whole numbers
        def wholes?(values)
          values.is_a?(Array) && values.all? { |value| whole(value) }
        end

        # @param text [String, nil]
        # @return [Integer, nil]
        def in_text(text)
          whole(Integer(text, 10, exception: false)) if text
        end

        # @param value [Object] in seconds
        # @return [Float, nil]
        def seconds(value)
          value.to_f if value.is_a?(Numeric) && value >= 0 && value <= LONGEST
        end

        # @param value [Object] in milliseconds since 1970
        # @return [Time, nil]
        def time(value)
          Time.at(value / 1_000r) if value.is_a?(Integer) && value.abs < END_OF_TIME
        end

        # @param value [Object] in milliseconds since 1970, perhaps with a fraction
        # @return [Float, nil] in seconds
        def moment(value)
          value / 1_000.0 if value.is_a?(Numeric) && value.abs < END_OF_TIME
        end
      end
    end
    private_constant :Numbers
  end
end

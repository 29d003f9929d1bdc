# frozen_string_literal: true

require "date"
require "time"

module RedisIPC
  module Events
    # Converts values to what JSON can hold: times to ISO 8601, Symbols to Strings, NaN and infinities to Strings. Bytes
    # that are not UTF-8 are replaced.
    # @api private
    module Plain
      class << self
        # @param value [Object]
        # @return [Object]
        def of(value)
          case value
          when Hash then value.to_h { |name, one| [ErrorText.utf8(name.to_s), of(one)] }
          when Array then value.map { |one| of(one) }
          when String, Symbol then ErrorText.utf8(value.to_s)
          else scalar(value)
          end
        end

        private

        def scalar(value)
          case value
          when Float then value.finite? ? value : value.to_s
          when Time then value.utc.iso8601(6)
          when Date then value.iso8601
          else value
          end
        end
      end
    end
  end
end

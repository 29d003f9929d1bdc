# frozen_string_literal: true

require "date"
require "time"

module RedisIPC
  module Events
    # Turns what an event holds into what JSON can hold: times as ISO 8601, Symbols as Strings, floats that are no
    # numbers as Strings. Bytes that are no UTF-8 are replaced.
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

# frozen_string_literal: true

require "json"

module RedisIPC
  # Writes as JSON what came from Redis, where there may be anything: texts in no encoding, numbers beyond all bounds,
  # lists in lists in lists.
  # @api private
  module JSONText
    class << self
      # @param value [Object]
      # @return [String] on one line
      def of(value)
        written(value) { |plain| JSON.generate(plain, max_nesting: 0) }
      end

      # @param value [Object]
      # @return [String] for people
      def pretty(value)
        written(value) { |plain| JSON.pretty_generate(plain, max_nesting: 0) }
      end

      private

      def written(value)
        yield value
      rescue JSON::GeneratorError, EncodingError
        yield plain(value)
      end

      # JSON has no number for what is infinite.
      def plain(value)
        case value
        when Hash then value.to_h { |name, one| [plain(name), plain(one)] }
        when Array then value.map { |one| plain(one) }
        when String then ErrorText.utf8(value)
        when Float then value.finite? ? value : nil
        else value
        end
      end
    end
  end
  private_constant :JSONText
end

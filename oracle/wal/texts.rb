# frozen_string_literal: true

require "json"

module Oracle
  module Wal
    # Writes values of events as PostgreSQL reads them.
    module Texts
      JSON_TYPES = %w[json jsonb].freeze

      class << self
        # @param value [Object]
        # @param type [String] as PostgreSQL's format_type names it
        # @return [String, nil] nil for NULL
        def of(value, type)
          return if value.nil?
          return array(value, type.delete_suffix("[]")) if value.is_a?(Array) && type.end_with?("[]")
          return JSON.generate(value) if JSON_TYPES.include?(type)

          plain(value)
        end

        private

        def plain(value)
          case value
          when Time then value.getutc.strftime("%Y-%m-%d %H:%M:%S.%6N+00")
          when Date then value.strftime("%Y-%m-%d")
          when String then value.encoding == Encoding::BINARY ? "\\x#{value.unpack1("H*")}" : value
          else value.to_s
          end
        end

        def array(list, type)
          "{#{list.map { |one| element(one, type) }.join(",")}}"
        end

        def element(one, type)
          return array(one, type) if one.is_a?(Array) && !JSON_TYPES.include?(type)

          text = of(one, type)
          text ? "\"#{text.gsub(/["\\]/) { |sign| "\\#{sign}" }}\"" : "NULL"
        end
      end
    end
  end
end

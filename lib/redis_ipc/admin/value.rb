# frozen_string_literal: true

module RedisIPC
  class Admin
    # The base class of what {Admin} returns: frozen, with readers, and with {#to_h} for JSON. What is not known is nil.
    class Value
      class << self
        # @return [Array<Symbol>] the names of the readers
        # @api private
        def fields
          @fields ||= superclass.respond_to?(:fields) ? superclass.fields.dup : []
        end

        private

        def attr_reader(*names)
          fields.concat(names)
          super
        end

        # Fields that only Ruby sees: `to_h` leaves them out.
        def hidden(*names)
          @hidden = names
        end
      end

      # @return [Array<Symbol>]
      # @api private
      def self.shown
        fields - (@hidden || [])
      end

      # @api private
      def initialize(**values)
        unknown = values.keys - self.class.fields
        raise ArgumentError, "unknown: #{unknown.join(", ")}" if unknown.any?

        values.each { |name, value| instance_variable_set(:"@#{name}", value) }
        freeze
      end

      # @return [Hash{Symbol => Object}] values of JSON: times are texts (ISO 8601), Symbols too
      def to_h
        self.class.shown.to_h { |name| [name, plain(public_send(name))] }
      end

      # @return [String]
      def to_json(*options)
        to_h.to_json(*options)
      end

      private

      def plain(value)
        case value
        when Value then value.to_h
        when Array then value.map { |one| plain(one) }
        when Hash then value.transform_values { |one| plain(one) }
        when Time then value.utc.iso8601(3)
        when Symbol then value.name
        else value
        end
      end
    end
  end
end

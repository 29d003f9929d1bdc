# frozen_string_literal: true

module RedisIPC
  module Events
    # Turns what is published into the fields of an entry, and checks it.
    # @api private
    module Publication
      EVENT = %i[data type key].freeze
      private_constant :EVENT

      class << self
        # @param event [Hash] data, type, key
        # @return [Array<String>] names and values in turn
        # @raise [ContentError]
        # @raise [ArgumentError]
        def fields(event, traceparent)
          raise ArgumentError, "an event must be a Hash, got a #{event.class}" unless event.is_a?(Hash)

          check_names(event)
          fields = []
          fields << "type" << text("type", event[:type]) unless event[:type].nil?
          fields << "key" << text("key", event[:key]) unless event[:key].nil?
          fields << "data" << Native.dump(event[:data])
          fields << "traceparent" << traceparent if traceparent
          fields
        end

        # @return [Array(Integer, Float)] either may be nil
        def limits(maxlen, keep)
          raise ArgumentError, "give maxlen or keep, not both: Redis trims by one of them" if maxlen && keep

          [length(maxlen), seconds(keep)]
        end

        private

        def length(given)
          return given if given.nil? || (given.is_a?(Integer) && given >= 0)

          raise ArgumentError, "maxlen must be a whole number of entries, got #{given.inspect}"
        end

        def seconds(given)
          return if given.nil?
          return given.to_f if given.is_a?(Numeric) && given.real? && given.positive?

          raise ArgumentError, "keep must be a number of seconds over 0, got #{given.inspect}"
        end

        def check_names(event)
          unknown = (event.keys - EVENT).first
          raise ArgumentError, "an event has data, type and key, and no #{unknown.inspect}" unless unknown.nil?
          raise ArgumentError, "an event needs data" unless event.key?(:data)
        end

        def text(name, value)
          return Names.check("the event's #{name}", value) unless value.is_a?(Integer)

          value.to_s
        end
      end
    end
    private_constant :Publication
  end
end

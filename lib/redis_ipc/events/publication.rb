# frozen_string_literal: true

module RedisIPC
  module Events
    # Checks what is published, and converts it to the fields of an entry.
    # @api private
    module Publication
      EVENT = %i[data type key id].freeze
      # The most bytes of an id.
      ID = 255
      # The most seconds, a hundred years: Redis cannot hold an infinite time.
      SECONDS = 3_155_760_000
      private_constant :EVENT, :ID, :SECONDS

      class << self
        # @param event [Hash] data, type, key, id
        # @return [Array(Array<String>, String)] alternating names and values, and the id that the application gave it
        # @raise [ContentError]
        # @raise [ArgumentError]
        def entry(event, traceparent)
          raise ArgumentError, "an event must be a Hash, got a #{event.class}" unless event.is_a?(Hash)

          check_names(event)
          fields = [*named(EntryFormat::TYPE, event[:type]), *named(EntryFormat::KEY, event[:key]),
                    EntryFormat::DATA, Native.dump(event[:data])]
          fields << EntryFormat::TRACEPARENT << traceparent if traceparent
          [fields, (id(event[:id]) unless event[:id].nil?)]
        end

        # @param given [String, Symbol, Integer]
        # @return [String] its form in the entry
        # @raise [ArgumentError]
        def key(given)
          text(EntryFormat::KEY, given)
        end

        # @param what [String] `"key"` or `"type"`
        # @param given [String, Symbol, Integer]
        # @return [String] as the entry has it
        # @raise [ArgumentError]
        def word(what, given)
          text(what, given)
        end

        # @return [Array(Array, Float)] the limits: the entries; the seconds; the factor by which unread entries may
        #   exceed that, nil for no bound; whether unread entries are deleted like the others. And for how many seconds
        #   ids are remembered
        # @raise [ArgumentError]
        def options(maxlen: nil, keep: nil, unread: 10, remember: 600)
          raise ArgumentError, "give maxlen or keep, not both: Redis trims by one of them" if maxlen && keep

          limits = [length(maxlen), (seconds("keep", keep) unless keep.nil?), times(unread), unread == :drop]
          [limits, seconds("remember", remember)]
        end

        private

        def seconds(name, given)
          return given.to_f if given.is_a?(Numeric) && given.real? && given.positive? && given <= SECONDS

          raise ArgumentError, "#{name} must be a number of seconds over 0 and at most #{SECONDS}, got #{given.inspect}"
        end

        def length(given)
          return given if given.nil? || (given.is_a?(Integer) && given >= 0)

          raise ArgumentError, "maxlen must be a whole number of entries, got #{given.inspect}"
        end

        def times(unread)
          return if %i[keep drop].include?(unread)
          return unread.to_f if unread.is_a?(Numeric) && unread.real? && unread >= 1

          raise ArgumentError, "unread must be :keep, :drop or how many times the limit is kept, got #{unread.inspect}"
        end

        def check_names(event)
          unknown = (event.keys - EVENT).first
          raise ArgumentError, "an event has data, type, key and id, and no #{unknown.inspect}" unless unknown.nil?
          raise ArgumentError, "an event needs data" unless event.key?(:data)
        end

        def id(given)
          id = text("id", given)
          return id if id.bytesize <= ID

          raise ArgumentError, "the event's id must have at most #{ID} bytes, got #{id.bytesize}"
        end

        def named(name, value)
          [name, text(name, value)] unless value.nil?
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

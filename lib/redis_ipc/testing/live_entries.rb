# frozen_string_literal: true

module RedisIPC
  # Makes live events in tests.
  module Events
    # Makes what the core would read from a channel, of a key, or of what caches are to drop.
    # @api private
    module LiveEntries
      class << self
        # @param source [LiveSource]
        # @param event [Hash{Symbol => Object}] `type:`, `key:` and `data:`
        # @return [Array<Array(String, String)>]
        # @raise [ContentError]
        def fields(source, event)
          case source.kind
          when :keys then of_key(source, event)
          when :tracking then invalidation(source, event)
          else message(source, event)
          end
        end

        private

        # Of a pattern it is the channel that has the pattern's name.
        def message(source, event)
          channel = (event[:key] || source.names.first).to_s
          pattern = [[MessageFormat::PATTERN, source.names.first]] if source.kind == :pattern
          [[MessageFormat::CHANNEL, channel], [MessageFormat::DATA, source.format.text(event[:type], event[:data])],
           *pattern]
        end

        # Without a key it is the one that is named like the prefix. A flush has none.
        def invalidation(source, event)
          type = (event[:type] || TrackingFormat::INVALIDATE).to_s
          key = (event[:key] || source.names.first.delete_suffix("*")).to_s
          [*([[KeyFormat::KEY, key]] unless type == TrackingFormat::FLUSH), [KeyFormat::EVENT, type]]
        end

        def of_key(source, event)
          names, value = source.of_fields? ? of_fields(event[:data]) : [nil, event[:data]]
          [[KeyFormat::KEY, (event[:key] || source.names.first).to_s],
           [KeyFormat::EVENT, (event[:type] || "set").to_s], [KeyFormat::DB, "0"],
           *([[KeyFormat::FIELDS, TextList.write(names)]] if names),
           *(value(value) if source.reads_values?)]
        end

        # @return [Array(Array, Object)] the names of the fields, and the value
        def of_fields(data)
          return [Array(data), nil] unless data.is_a?(Hash)

          data = data.transform_keys(&:to_s)
          [Array(data[KeyFormat::FIELDS]), data[KeyFormat::VALUE]]
        end

        # Without a value the key is gone, as it is without elements.
        def value(data)
          data = data.fetch(:value) { data.fetch("value") { data } } if data.is_a?(Hash)
          return [[KeyFormat::STATE, "gone"]] if [nil, [], {}].include?(data)

          type, texts = elements(data)
          typed = type ? [[KeyFormat::TYPE, type], [KeyFormat::VALUE, texts]] : [[KeyFormat::VALUE, data.to_s]]
          [[KeyFormat::STATE, "present"], *typed]
        end

        # @return [Array(String, String), nil] the type of what has elements, and these
        def elements(data)
          case data
          when Array then ["list", TextList.write(data)]
          when Hash then [data.values.all?(Float) ? "zset" : "hash", TextList.write(data.flatten)]
          end
        end
      end
    end
    private_constant :LiveEntries
  end
end

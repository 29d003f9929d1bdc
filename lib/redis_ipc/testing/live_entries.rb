# frozen_string_literal: true

module RedisIPC
  # Makes live events in tests.
  module Events
    # Makes what the core would read from a channel, or of a key.
    # @api private
    module LiveEntries
      class << self
        # @param source [LiveSource]
        # @param event [Hash{Symbol => Object}] `type:`, `key:` and `data:`
        # @return [Array<Array(String, String)>]
        # @raise [ContentError]
        def fields(source, event)
          source.kind == :keys ? of_key(source, event) : message(source, event)
        end

        private

        # Of a pattern it is the channel that has the pattern's name.
        def message(source, event)
          channel = (event[:key] || source.names.first).to_s
          pattern = [[MessageFormat::PATTERN, source.names.first]] if source.kind == :pattern
          [[MessageFormat::CHANNEL, channel], [MessageFormat::DATA, source.format.text(event[:type], event[:data])],
           *pattern]
        end

        def of_key(source, event)
          fields = [[KeyFormat::KEY, (event[:key] || source.names.first).to_s],
                    [KeyFormat::EVENT, (event[:type] || "set").to_s], [KeyFormat::DB, "0"]]
          source.reads_values? ? fields + value(event[:data]) : fields
        end

        # Without a value the key is gone.
        def value(data)
          data = data[:value] || data["value"] if data.is_a?(Hash)
          return [[KeyFormat::STATE, "gone"]] if data.nil?

          [[KeyFormat::STATE, "present"], [KeyFormat::VALUE, data.to_s]]
        end
      end
    end
    private_constant :LiveEntries
  end
end

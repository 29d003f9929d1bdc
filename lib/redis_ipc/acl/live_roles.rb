# frozen_string_literal: true

module RedisIPC
  module ACL
    # Makes the rules of who handles live events, beyond those that all roles have.
    # @api private
    module LiveRoles
      COMMON = %w[+time +select +info].freeze
      # In a cluster: whether a replica was told to publish.
      SHARDED = "+cluster|info"
      # What reads the values of keys.
      VALUES = "+get +type +memory|usage +hlen +hgetall +llen +lrange +scard +smembers +zcard +zrange"
      TRACKING = %w[+client|id +client|tracking +subscribe &__redis__:invalidate].freeze
      # What a consumer without a stream needs for its record.
      RECORD = RecordRules.without_stream("*").freeze
      private_constant :COMMON, :SHARDED, :VALUES, :TRACKING, :RECORD

      class << self
        def event_subscriber(channels: [], patterns: [], shard_channels: [])
          words = { "+subscribe" => escaped(channels), "+ssubscribe" => escaped(shard_channels),
                    "+psubscribe" => checked(patterns) }.reject { |_, names| names.empty? }
          raise ArgumentError, "name channels:, patterns: or shard_channels:" if words.empty?

          sharded = SHARDED if words.key?("+ssubscribe")
          [*COMMON, *sharded, *words.keys, *words.values.flatten.map { |name| "&#{name}" }, *RECORD]
        end

        def key_subscriber(keys:, values: false, fields: false)
          keys = checked(keys)
          channels = keys.map { |key| "&__#{"sub" if fields}keyspace@0__:#{key}" }
          [*COMMON, "+config|get", "+psubscribe", *channels,
           *("(#{keys.map { |key| "%R~#{key}" }.join(" ")} #{VALUES})" if values), *RECORD]
        end

        # Redis has no rights on prefixes: it tells who tracks of any key.
        def key_tracker
          [*COMMON, *TRACKING, *RECORD]
        end

        private

        def escaped(names)
          [*names].map { |name| RuleText.escaped("channel", name) }
        end

        # A pattern must be that of a rule, letter by letter.
        def checked(names)
          [*names].map { |name| RuleText.checked("pattern", name) }
        end
      end
    end
    private_constant :LiveRoles
  end
end

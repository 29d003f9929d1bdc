# frozen_string_literal: true

module RedisIPC
  module ACL
    # Makes the rules of who handles live events, beyond those that all roles have.
    # @api private
    module LiveRoles
      COMMON = %w[+time +select +info].freeze
      # In a cluster: whether a replica was told to publish.
      SHARDED = "+cluster|info"
      private_constant :COMMON, :SHARDED

      class << self
        def event_subscriber(channels: [], patterns: [], shard_channels: [])
          words = { "+subscribe" => escaped(channels), "+ssubscribe" => escaped(shard_channels),
                    "+psubscribe" => checked(patterns) }.reject { |_, names| names.empty? }
          raise ArgumentError, "name channels:, patterns: or shard_channels:" if words.empty?

          sharded = SHARDED if words.key?("+ssubscribe")
          [*COMMON, *sharded, *words.keys, *words.values.flatten.map { |name| "&#{name}" }]
        end

        def key_subscriber(keys:, values: false)
          keys = checked(keys)
          channels = keys.map { |key| "&__keyspace@0__:#{key}" }
          [*COMMON, "+config|get", "+psubscribe", *channels,
           *("(#{keys.map { |key| "%R~#{key}" }.join(" ")} +get)" if values)]
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

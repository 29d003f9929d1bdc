# frozen_string_literal: true

require_relative "acl/rule_text"
require_relative "acl/record_rules"
require_relative "acl/roles"
require_relative "acl/live_roles"
require_relative "acl/admin_roles"

module RedisIPC
  # The rights that each user of Redis needs, as arguments of `ACL SETUSER`.
  #
  # @example
  #   rules = RedisIPC::ACL.rules(:asker, stream: "house", group: "parent", to: "child")
  #   redis.call("ACL", "SETUSER", "parent", "on", ">secret", *rules)
  #
  # @see file:docs/security.md What each user can do and what not
  module ACL
    ROLES = %i[asker answerer observer operator sentinel json_rpc_client json_rpc_server event_publisher
               event_consumer event_forwarder event_subscriber key_subscriber key_tracker].freeze
    COMMON = %w[resetchannels -@all +ping +hello +client|setname].freeze
    private_constant :ROLES, :COMMON, :Roles

    class << self
      # @return [Array<Symbol>]
      # @api private
      def roles
        ROLES
      end

      # The rules of one user. They open the keys of that stream or queue, or the channels, and no other whose name
      # begins alike.
      #
      # The roles and their names: `:asker` (`stream:`, `group:`, `to:` the groups it asks), `:answerer` (`stream:`,
      # `group:`, `askers:` the groups it answers, nil for all), `:observer` (`stream:`, `queue:` and `events:`, the
      # streams with consumers of events; of each one or several), `:operator` (the same, and `name:` as {Admin} has
      # it), `:json_rpc_client` and `:json_rpc_server` (`queue:`), `:event_publisher` (`stream:`), `:event_consumer`
      # (`stream:`, `group:`) and `:event_forwarder` (`stream:`, `slot:` of PostgreSQL), these with `partitions:` if
      # there are any, `:event_subscriber` (`channels:`, `patterns:`, `shard_channels:`, of which one must be given),
      # `:key_subscriber` (`keys:` the patterns of keys, `values:` whether their values are read, `fields:` whether it
      # is told of the fields of hashes), `:key_tracker` (none: Redis tells it of any key), `:sentinel` (none; the user
      # on the sentinels).
      # @param role [Symbol]
      # @param cluster [Boolean] for a Redis Cluster, where each node needs the rules
      # @param sentinels [Boolean] for a server that sentinels watch
      # @param names [Hash{Symbol => String, Symbol, Array, nil}] see above
      # @return [Array<String>] without the user's name, `on` and the password
      # @raise [ArgumentError] if the role is unknown, a name is missing or unknown, or no rule can hold it
      def rules(role, cluster: false, sentinels: false, **names)
        raise ArgumentError, "the role must be one of #{ROLES}, got #{role.inspect}" unless ROLES.include?(role)

        roles = [Roles, LiveRoles, AdminRoles].find { |one| one.respond_to?(role) }
        rules = roles.public_send(role, **names)
        [*COMMON, *(%w[+cluster|slots +asking] if cluster), *("+role" if sentinels), *rules].freeze
      end
    end
  end
end

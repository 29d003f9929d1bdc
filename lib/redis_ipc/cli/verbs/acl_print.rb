# frozen_string_literal: true

require_relative "../../acl"

module RedisIPC
  module CLI
    module Verbs
      # Prints the rules of a user of Redis.
      # @api private
      class AclPrint < Verb
        verb "acl print"
        summary "print the ACL rules that a user of Redis needs"
        about <<~TEXT
          Prints the rules of a role, for ACL SETUSER or a file of users. It connects to nothing. Each role takes some
          of the names below; what is missing or too much is said.
        TEXT
        argument :role, "what the user does", choices: ACL.roles.map(&:to_s).freeze
        option :stream, "-s", "--stream NAME", "the stream of request/reply or of events"
        option :group, "-g", "--group NAME", "the user's own group"
        option :to, "--to NAME,NAME", "the groups that an asker asks", type: Array
        option :askers, "--askers NAME,NAME", "the groups that an answerer answers (all)", type: Array
        option :queue, "--queue NAME", "the list of JSON-RPC"
        option :partitions, "--partitions NUMBER", "of the events", type: Integer, least: 1
        option :slot, "--slot NAME", "the replication slot of an event_forwarder"
        option :channels, "--channels NAME,NAME", "of an event_subscriber", type: Array
        option :patterns, "--patterns PATTERN,PATTERN", "of an event_subscriber", type: Array
        option :shard_channels, "--shard-channels NAME,NAME", "of an event_subscriber", type: Array
        option :keys, "--keys PATTERN,PATTERN", "of a key_subscriber", type: Array
        option :values, "--values", "a key_subscriber reads the values of keys"
        option :fields, "--fields", "a key_subscriber is told of the fields of hashes"
        option :cluster, "--cluster", "for a Redis Cluster"
        option :sentinels, "--sentinels", "for a server that sentinels watch"
        option :user, "-u", "--user NAME", "print a line for a file of users, which lacks the password"
        shares :json
        example "redis_ipc acl print asker --stream house --group parent --to child", "prints the rules of an asker"
        example "redis_ipc acl print observer -s house -u monitor", "prints: user monitor on ..."

        def run
          rules = rules_of(given[:role])
          return terminal.json(rules) if terminal.json?

          user = given[:user]
          terminal.say(user ? "user #{user} on #{rules.join(" ")}" : rules)
        end

        private

        def rules_of(role)
          names = given.except(:role, :user, :json, :color, :help).reject { |_, value| value.nil? || value == false }
          ACL.rules(role.to_sym, **names)
        rescue ArgumentError => e
          # The names of its arguments are those of the options.
          raise UsageError, "#{role}: #{e.message.sub(/ keywords?:/, "").gsub(/(?<![\w"]):?(\w+):|:(\w+)/) do
                                          option(::Regexp.last_match(1) || ::Regexp.last_match(2))
                                        end}"
        end

        def option(name)
          "--#{name.tr("_", "-")}"
        end
      end
    end
  end
end

# frozen_string_literal: true

require_relative "../role_verb"

module RedisIPC
  module CLI
    module Verbs
      # Prints the rules of a user of Redis.
      # @api private
      class AclPrint < Verb
        include RoleVerb

        verb "acl print"
        summary "print the ACL rules that a user of Redis needs"
        about <<~TEXT
          Prints the rules of a role, for ACL SETUSER or a file of users. It connects to nothing. Each role takes some
          of the names below; what is missing or too much is said.
        TEXT
        option :user, "-u", "--user NAME", "print a line for a file of users, which lacks the password"
        shares :json
        example "redis_ipc acl print asker --stream house --group parent --to child", "prints the rules of an asker"
        example "redis_ipc acl print observer -s house -u monitor", "prints: user monitor on ..."

        def run
          rules = naming { ACL.rules(role, **names) }
          return terminal.json(rules) if terminal.json?

          user = given[:user]
          terminal.say(user ? "user #{user} on #{rules.join(" ")}" : rules)
        end
      end
    end
  end
end

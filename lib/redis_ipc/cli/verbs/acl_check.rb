# frozen_string_literal: true

require_relative "../role_verb"
require_relative "../findings_text"

module RedisIPC
  module CLI
    module Verbs
      # Says which rights a user lacks.
      # @api private
      class AclCheck < Verb
        include RoleVerb

        verb "acl check"
        summary "say which rules a user of Redis lacks for a role"
        about <<~TEXT
          Asks Redis, by ACL DRYRUN, whether a user may send what a role sends, and prints the rules to add. Nothing is
          run and nothing changed. The user that it logs in as needs +acl|dryrun and +acl|whoami; an administrator has
          them. In a cluster each node is asked.
        TEXT
        option :user, "-u", "--user NAME", "the user (the one that it logs in as)"
        shares :redis, :json
        ends_with 0 => "nothing is missing", 1 => "a right is missing"
        example "redis_ipc acl check answerer -s house -g kitchen --user kitchen", "looks before the first deployment"

        def run
          admin = Admin.new(redis_options: redis_options, name: "redis_ipc")
          findings = naming { admin.rights(role, user: given[:user], **names) }
          terminal.json? ? terminal.json(findings.map(&:to_h)) : tell(findings)
          findings.empty? ? ExitStatus::FINE : ExitStatus::FINDING
        ensure
          admin&.close
        end

        private

        def tell(findings)
          return terminal.say(FindingsText.lines(findings, terminal)) if findings.any?

          terminal.say(terminal.paint("#{given[:user] || "this user"} lacks nothing for the role #{role}", :green))
        end
      end
    end
  end
end

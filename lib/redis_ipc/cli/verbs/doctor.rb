# frozen_string_literal: true

require_relative "../admin_verb"
require_relative "../findings_text"

module RedisIPC
  module CLI
    module Verbs
      # Says what is wrong, and what to do.
      # @api private
      class Doctor < AdminVerb
        verb "doctor"
        summary "say what is wrong, and what to do about it"
        about <<~TEXT
          Looks at the servers of Redis (version, memory, eviction, notifications), and at the groups, queues and
          consumers of events that are named: who is missing, busy, hung or disagrees about settings, what waits, what
          was given up on, what lags. Each finding comes with what to do. Nothing is changed. PostgreSQL is looked at with
          --postgres only: its slots may keep log until its disk is full.
        TEXT
        option :postgres, "--postgres URL,URL", "databases of PostgreSQL whose replication slots are looked at",
               type: Array
        option :quiet, "-Q", "--quiet", "print no findings of the level info, and nothing if all is fine"
        shares :streams, :others, :redis, :watch, :json
        ends_with 0 => "there is no error and no warning", 1 => "there is an error or a warning"
        example "redis_ipc doctor -s house -q jobs --events orders", "looks at all of it"
        example "redis_ipc doctor -s house --postgres $DATABASE_URL", "looks at the slots of PostgreSQL, too"
        example "redis_ipc doctor -s house --json | jq -r '.[].kind'", "prints the kinds of findings for a script"

        UNSEEN = "PostgreSQL was not looked at: --postgres URL, such as $DATABASE_URL"
        private_constant :UNSEEN

        def run
          findings = admin.findings
          findings = findings.reject { |finding| finding.level == :info } if given[:quiet]
          terminal.json? ? terminal.json(findings.map(&:to_h), lines: !given[:watch].nil?) : tell(findings)
          findings.any? { |finding| finding.level != :info } ? ExitStatus::FINDING : ExitStatus::FINE
        end

        private

        def tell(findings)
          terminal.say(FindingsText.lines(findings, terminal)) if findings.any?
          return if given[:quiet]

          fine = findings.all? { |finding| finding.level == :info }
          terminal.say(terminal.paint("nothing is wrong with #{looked_at} on #{admin.address}", :green)) if fine
          terminal.say(terminal.paint(UNSEEN, :gray)) unless given[:postgres]
        end

        def looked_at
          LogText.line([*admin.streams, *admin.queue_names, *admin.consumers].join(", "))
        end
      end
    end
  end
end
